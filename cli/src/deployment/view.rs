//! How a watched deployment looks.

use std::collections::HashMap;

use homeport_api::{Deployment, DeviceProgress, StateChange};
use homeport_protocol::DeploymentState;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::questions::{history, whom};
use crate::{
    client::Client,
    error::Result,
    human,
    output::{Line, Output, Tone},
    update,
};

/// More devices than this get lines, as bars would not fit on a screen.
const MAX_BARS: usize = 20;
/// Lines are printed for every so many per cent.
const PERCENT_STEP: u8 = 10;
const BAR: &str = "{prefix}  {bar:24.cyan/dim}  {msg}";
/// Per cents of a state that a whole update takes about, to give the bar one direction.
const STEPS: [(DeploymentState, u64, u64); 8] = [
    (DeploymentState::Offered, 0, 0),
    (DeploymentState::Waiting, 0, 0),
    (DeploymentState::Downloading, 2, 8),
    (DeploymentState::Installing, 10, 65),
    (DeploymentState::Installed, 75, 0),
    (DeploymentState::Rebooting, 80, 0),
    (DeploymentState::Trial, 90, 0),
    (DeploymentState::Verified, 100, 0),
];

/// One of the ways to show progress.
#[derive(Debug)]
pub(crate) enum View {
    /// For programs: a line of JSON for each change.
    Json(Output),
    /// For logs: a line for each step.
    Lines {
        output: Output,
        client: Box<Client>,
        /// So few devices that also what they went through before is told.
        few: bool,
        shown: HashMap<String, Shown>,
    },
    /// For people at a terminal.
    Bars {
        output: Output,
        all: MultiProgress,
        bars: HashMap<String, ProgressBar>,
        width: usize,
    },
    /// For tests of what is behind it.
    #[cfg(test)]
    Hidden,
}

/// What was printed of a device.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    steps: u64,
    state: Option<DeploymentState>,
    percent: u8,
}

// === impl View ===

impl View {
    pub(crate) fn new(
        client: &Client,
        deployment: &Deployment,
        devices: &[DeviceProgress],
        output: Output,
    ) -> Self {
        if output.json {
            return Self::Json(output);
        }
        output.note(format_args!(
            "Deployment {}: {} to {}. Ctrl-C stops watching, not the update.",
            deployment.id,
            deployment.version,
            whom(deployment)
        ));
        let few = devices.len() <= MAX_BARS;
        if !output.bars || !few {
            return Self::Lines {
                output,
                client: Box::new(client.clone()),
                few,
                shown: HashMap::new(),
            };
        }
        let names = devices.iter().map(|device| &device.device_name);
        Self::Bars {
            output,
            all: MultiProgress::new(),
            bars: HashMap::new(),
            width: names.map(|name| name.chars().count()).max().unwrap_or(0),
        }
    }

    /// Shows how a device is now.
    pub(crate) fn show(&mut self, device: &DeviceProgress) -> Result<()> {
        match self {
            Self::Json(output) => output.json_line(device),
            Self::Lines {
                output,
                client,
                few,
                shown,
            } => {
                let shown = shown.entry(device.device.clone()).or_insert_with(|| Shown {
                    steps: if *few {
                        0
                    } else {
                        device.update.steps.saturating_sub(1)
                    },
                    ..Shown::default()
                });
                // States can pass between two looks. Where they cannot be asked for, the present one is told at least.
                let missed = device.update.steps > shown.steps + 1;
                let changes = missed.then(|| history(client, device).ok()).flatten();
                shown
                    .lines(device, changes.as_deref())
                    .into_iter()
                    .try_for_each(|line| output.line(line))
            }
            Self::Bars { all, bars, width, .. } => {
                let bar = bars
                    .entry(device.device.clone())
                    .or_insert_with(|| all.add(new_bar(&device.device_name, *width)));
                draw(bar, device);
                Ok(())
            }
            #[cfg(test)]
            Self::Hidden => Ok(()),
        }
    }

    /// Says something about the watching itself.
    pub(crate) fn note(&self, text: &str) {
        match self {
            Self::Lines { output, .. } => output.note(text),
            Self::Bars { output, all, .. } => all.suspend(|| output.note(text)),
            Self::Json(_) => {}
            #[cfg(test)]
            Self::Hidden => {}
        }
    }

    /// Leaves the bars as they are.
    pub(crate) fn finish(&self) {
        if let Self::Bars { bars, .. } = self {
            bars.values().for_each(ProgressBar::abandon);
        }
    }
}

// === impl Shown ===

impl Shown {
    /// Lines for what is new: every state that it entered, of which `history` has those between two looks, and the per cents of the
    /// present one.
    fn lines(&mut self, device: &DeviceProgress, history: Option<&[StateChange]>) -> Vec<String> {
        let update = &device.update;
        let name = &device.device_name;
        let line = |change: &StateChange| format!("{name}  {}", update::change(change));
        let known = usize::try_from(self.steps).unwrap_or(usize::MAX);
        let mut lines: Vec<String> = match history {
            Some(history) => history.iter().skip(known).map(line).collect(),
            None if update.steps > self.steps => vec![line(&update::present(update))],
            None => Vec::new(),
        };
        let told = history.map_or(0, |history| history.len() as u64);
        self.steps = self.steps.max(update.steps).max(told);
        if self.state != Some(update.state) {
            self.state = Some(update.state);
            self.percent = 0;
        }
        let counts = matches!(
            update.state,
            DeploymentState::Downloading | DeploymentState::Installing
        );
        if counts && update.percent >= self.percent.saturating_add(PERCENT_STEP) {
            self.percent = update.percent - update.percent % PERCENT_STEP;
            let mut line = format!(
                "{name}  {}  {}",
                human::clock(update.updated_ms),
                update::state(update)
            );
            for more in [&update.message, &update::fetched(update)] {
                if !more.is_empty() {
                    line.push_str(", ");
                    line.push_str(more);
                }
            }
            lines.push(line);
        }
        lines
    }
}

#[expect(clippy::disallowed_methods, reason = "a line only")]
fn new_bar(name: &str, width: usize) -> ProgressBar {
    // The template is a constant that a test draws with.
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(100)
        .with_style(style.progress_chars("━╸─"))
        .with_prefix(Line::from(format_args!("{name:width$}")).render(false))
}

#[expect(clippy::disallowed_methods, reason = "a line only")]
fn draw(bar: &ProgressBar, device: &DeviceProgress) {
    let update = &device.update;
    let step = STEPS.iter().find(|(state, ..)| *state == update.state);
    if let Some((_, from, span)) = step {
        bar.set_position(from + span * u64::from(update.percent.min(100)) / 100);
    }
    let why = match update::reason(update.reason.as_ref()) {
        reason if reason.is_empty() => update.message.clone(),
        reason => reason,
    };
    let message = Line::default()
        .column(update::state(update), update::tone(update.state))
        .column(why, Tone::Faint)
        .column(update::fetched(update), Tone::Faint);
    bar.set_message(message.render(console::colors_enabled_stderr()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        line::tests::EVIL,
        update::{present, tests::entered},
    };

    #[test]
    fn lines_tell_each_state_once_and_each_tenth() {
        use DeploymentState::{Downloading, Installing, Offered, Verified};
        let mut shown = Shown::default();
        let mut count = |states: &[DeploymentState], percent| {
            let mut device = entered("gate", states);
            device.update.percent = percent;
            device.update.message = "Copying".into();
            shown.lines(&device, None).len()
        };
        assert_eq!(count(&[Offered], 0), 1);
        assert_eq!(count(&[Offered, Downloading], 5), 1);
        assert_eq!(count(&[Offered, Downloading], 12), 1);
        assert_eq!(count(&[Offered, Downloading], 19), 0);
        assert_eq!(count(&[Offered, Downloading], 20), 1);
        assert_eq!(count(&[Offered, Downloading, Installing], 15), 2);
        assert_eq!(count(&[Offered, Downloading, Installing, Verified], 100), 1);
    }

    #[test]
    fn states_between_two_looks_are_told_from_the_history() {
        use DeploymentState::{Installed, Installing, Offered, Verified};
        let mut shown = Shown::default();
        let states = [Offered, Installing, Installed, Verified];
        let history: Vec<_> = states
            .map(|state| present(&entered("gate", &[state]).update))
            .into();
        assert_eq!(shown.lines(&entered("gate", &states[..1]), None).len(), 1);
        // It went on while it was asked for.
        let lines = shown.lines(&entered("gate", &states[..3]), Some(&history));
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(shown.lines(&entered("gate", &states), None).is_empty());
    }

    #[test]
    fn bars_show_nothing_hidden() {
        let mut device = entered(EVIL, &[DeploymentState::Downloading]);
        device.update.message = EVIL.into();
        let bar = new_bar(EVIL, 80);
        draw(&bar, &device);
        let message = bar.message();
        let given = [bar.prefix(), console::strip_ansi_codes(&message).into_owned()].concat();
        assert_eq!(given.matches('é').count(), 2, "{given:?}");
        assert!(!given.chars().any(homeport_api::text::is_hidden), "{given:?}");
        device.update.reason = Some(homeport_api::Why {
            code: homeport_protocol::FailureCode::Backend,
            detail: EVIL.into(),
        });
        draw(&bar, &device);
        let message = console::strip_ansi_codes(&bar.message()).into_owned();
        assert!(
            message.contains('é') && !message.chars().any(homeport_api::text::is_hidden),
            "{message:?}"
        );
    }

    #[test]
    fn the_templates_are_sound() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
