//! Hears what others change in a tier.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;
use tower_edge_core::BoxError;

use super::News;
use super::behind::Behind;
use super::line::Line;
use super::note::Note;
use crate::resource::ResourceKey;
use crate::shared::Shared;

impl Shared {
    /// Sees to it that somebody listens, in a task on the current runtime, and waits
    /// until it is known what others have purged.
    pub(super) async fn listen(&self, behind: &Arc<Behind>, line: &Line) -> Result<(), BoxError> {
        if !line.is_listened_to() {
            let runtime = Handle::try_current()?;
            runtime.spawn(self.clone().go_on_listening(behind.clone()));
        }
        line.opened().await
    }

    /// Listens until the cache is there no more, unless somebody does.
    async fn go_on_listening(self, behind: Arc<Behind>) {
        let Some(line) = &behind.line else { return };
        let Some(_listening) = line.listen() else { return };
        let (mut knows_all, mut pause) = (false, FIRST_PAUSE);
        // This task has one of the references, and who is on its way others.
        while Arc::strong_count(&self.store) > 1 {
            let heard = match knows_all {
                true => behind.tier.news().await,
                false => self.catch_up(&behind, line).await,
            };
            match heard {
                Ok(News { missed: true, .. }) => {
                    line.lose();
                    knows_all = false;
                }
                Ok(news) => {
                    self.take_note(&behind, line, news);
                    (knows_all, pause) = (true, FIRST_PAUSE);
                    self.write_behind();
                }
                Err(_) => {
                    line.lose();
                    self.tell_tier_failed(&behind, "news");
                    sleep(pause).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Learns all purges that the tier knows of, when others may have been missed:
    /// what is in memory is no longer believed.
    async fn catch_up(&self, behind: &Behind, line: &Line) -> Result<News, BoxError> {
        let noted = behind.tier.notes().await?;
        // Whom nobody has believed yet nobody has to forget: the purges are all newer.
        if line.last().is_some() {
            self.store.forget_all();
        }
        let last = noted.notes.last().map_or(noted.forgotten, |(number, _)| *number);
        let now = self.clock.now();
        behind.take_over(self.store.purges(), noted, now, self.clock.wall());
        line.hear(last, now);
        Ok(News::default())
    }

    fn take_note(&self, behind: &Behind, line: &Line, news: News) {
        for key in &news.changed {
            if let Some(key) = ResourceKey::from_bytes(key) {
                self.store.forget(&key);
                line.tell(key.hash());
            }
        }
        let mut last = line.last().unwrap_or_default();
        let known = last;
        for (number, note) in news.notes.into_iter().filter(|(number, _)| *number > known) {
            if let Some(note) = note {
                let note = Note::read(&note, self.clock.wall());
                let at = (self.clock.now(), self.clock.wall());
                self.tell_collapsed(self.store.overhear(behind, number, &note, at));
            }
            last = number;
        }
        line.hear(last, self.clock.now());
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
