use serde_json::Value;

use crate::command::{cargo, output, run};
use crate::error::Error;

/// Lints each published crate alone, without its features and with each of them.
///
/// In a build of the whole workspace one crate can lean on what another one
/// turned on.
pub(crate) fn lint_each() -> Result<(), Error> {
    let metadata = output(&mut cargo(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata = serde_json::from_slice(&metadata);
    let metadata = metadata.map_err(|error| Error::new(format!("cargo metadata: {error}")))?;
    builds(&metadata).iter().try_for_each(|Build { package, feature }| {
        let mut command = cargo(["clippy", "--quiet", "-p", package, "--no-default-features"]);
        command.args(feature.map(|feature| format!("--features={feature}")));
        run(command.args(["--", "-D", "warnings"]))
    })
}

#[derive(Debug, PartialEq)]
struct Build<'a> {
    package: &'a str,
    feature: Option<&'a str>,
}

fn builds(metadata: &Value) -> Vec<Build<'_>> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let published = packages.filter(|package| package["publish"].is_null());
    let builds = published.filter_map(|package| {
        let features = package["features"].as_object()?.keys().map(String::as_str);
        let features = features.filter(|&feature| feature != "default");
        let package = package["name"].as_str()?;
        let each = [None].into_iter().chain(features.map(Some));
        Some(each.map(move |feature| Build { package, feature }))
    });
    builds.flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn published_crates_are_built_without_features_and_with_each() {
        let metadata = json!({ "packages": [
            { "name": "plain", "publish": null, "features": {} },
            { "name": "rich", "publish": null, "features": { "a": [], "b": ["a"], "default": ["a"] } },
            { "name": "private", "publish": [], "features": { "c": [] } },
        ] });
        let built = builds(&metadata);
        let built: Vec<_> = built.iter().map(|build| (build.package, build.feature)).collect();
        let rich = [("rich", None), ("rich", Some("a")), ("rich", Some("b"))];
        assert_eq!(built, [&[("plain", None)], &rich[..]].concat());
    }
}
