//! What the agent may cost: `tests/budgets.toml`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use homeport_tests::board::facts::repository;

use crate::figures::{Figures, MEASURES};

/// For each board, the most that each figure may be.
#[derive(Debug)]
pub(crate) struct Budgets(BTreeMap<String, BTreeMap<String, f64>>);

// === impl Budgets ===

impl Budgets {
    pub(crate) fn load() -> Result<Self> {
        let file = repository().join("tests/budgets.toml");
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("{} does not hold budgets", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let budgets: BTreeMap<String, BTreeMap<String, f64>> = toml::from_str(text)?;
        for (board, figures) in &budgets {
            for key in figures.keys() {
                let is_known = MEASURES.iter().any(|measure| measure.key == key);
                ensure!(is_known, "{board}: no figure is called {key}");
            }
            for measure in &MEASURES {
                ensure!(
                    figures.contains_key(measure.key),
                    "{board}: no budget for {}",
                    measure.key
                );
            }
        }
        Ok(Self(budgets))
    }

    /// What is over its budget, one line for each figure: figure, budget, and where to look.
    pub(crate) fn excess(&self, figures: &Figures) -> Result<Vec<String>> {
        let board = &figures.board;
        let budgets = self.0.get(board);
        let budgets = budgets.with_context(|| format!("tests/budgets.toml has no budgets for {board}"))?;
        let mut excess = Vec::new();
        for (measure, value) in MEASURES.iter().zip(figures.values) {
            let budget = budgets.get(measure.key).copied().unwrap_or_default();
            if value > budget {
                excess.push(format!(
                    "{board}: {} is {value:.*}, over its budget of {budget}; look for {}",
                    measure.key, measure.digits, measure.cause
                ));
            }
        }
        Ok(excess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::COUNT;

    fn budgets(limit: f64) -> String {
        let lines = MEASURES
            .iter()
            .map(|measure| format!("{} = {limit:.1}\n", measure.key));
        format!("[x86_64]\n{}", lines.collect::<String>())
    }

    fn figures(board: &str, value: f64) -> Figures {
        Figures {
            board: board.to_owned(),
            values: [value; COUNT],
            telemetry_bytes_per_hour: 0.0,
        }
    }

    #[test]
    fn only_what_is_over_its_budget_is_named() {
        let budgets = Budgets::parse(&budgets(10.0)).unwrap();
        assert!(budgets.excess(&figures("x86_64", 10.0)).unwrap().is_empty());
        let mut over = figures("x86_64", 9.0);
        over.values[1] = 11.0;
        let excess = budgets.excess(&over).unwrap();
        assert_eq!(excess.len(), 1);
        assert!(
            excess[0].starts_with("x86_64: rss-kib is 11, over its budget of 10; look for "),
            "{excess:?}"
        );
    }

    #[test]
    fn a_board_without_budgets_fails() {
        let budgets = Budgets::parse(&budgets(10.0)).unwrap();
        assert!(budgets.excess(&figures("vax", 1.0)).is_err());
    }

    #[test]
    fn a_budget_for_nothing_and_a_figure_without_budget_are_mistakes() {
        assert!(Budgets::parse(&format!("{}colour = 1.0\n", budgets(1.0))).is_err());
        assert!(Budgets::parse("[x86_64]\nthreads = 1.0\n").is_err());
    }

    #[test]
    fn the_budgets_in_the_tree_are_readable() {
        Budgets::load().unwrap();
    }
}
