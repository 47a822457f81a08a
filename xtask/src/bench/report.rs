//! Tables for people.
//! Owns: how figures are printed, which ratio is shown, the two forms (columns, Markdown). Never: measures.

use std::fmt::Write as _;

use super::goal::{Goal, Limit};
use super::sample::Sample;

/// A table that grows row by row and is printed at its end, when the widths are known.
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// One contender's share of a load.
pub(super) struct Line<'a> {
    pub(super) server: &'a str,
    /// The median and the spread of the rate, percent; or why there is none.
    pub(super) measured: Result<(Sample, f64), String>,
    pub(super) goal: Goal,
}

/// One figure of one contender outside a load.
pub(super) struct Figure {
    pub(super) server: String,
    pub(super) value: f64,
    /// How far the rounds lie apart, percent.
    pub(super) spread: f64,
    pub(super) goal: Option<Limit>,
}

impl Table {
    pub(super) const fn new(head: Vec<&'static str>) -> Self {
        Self { head, rows: Vec::new() }
    }

    /// A table of loads.
    pub(super) fn of_loads() -> Self {
        Self::new(vec![
            "load",
            "server",
            "k op/s",
            "+-%",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "CPU us/op",
            "RSS MiB",
            "x rate",
            "x CPU",
            "goal",
            "",
        ])
    }

    /// A table of single figures.
    pub(super) fn of_figures(unit: &'static str) -> Self {
        Self::new(vec!["what", "server", unit, "+-%", "ratio", "goal", ""])
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// One row per contender; ratios are those of the first to each other one.
    pub(super) fn load(&mut self, name: &str, lines: &[Line<'_>]) {
        let first = lines.first().and_then(|line| line.measured.as_ref().ok()).map(|(s, _)| *s);
        for (at, line) in lines.iter().enumerate() {
            let mut cells = vec![if at == 0 { name.to_owned() } else { String::new() }];
            cells.push(line.server.to_owned());
            match &line.measured {
                Err(why) => cells.push(why.clone()),
                Ok((sample, spread)) => {
                    cells.extend(figures_of(sample, *spread));
                    let ratio = |of: fn(&Sample) -> f64| match first {
                        Some(first) if at > 0 => format!("{:.2}", of(&first) / of(sample)),
                        _ => String::new(),
                    };
                    cells.extend([ratio(|s| s.rate), ratio(|s| s.cpu_us), line.goal.to_string()]);
                    cells.push(line.goal.verdict(sample).unwrap_or("").to_owned());
                }
            }
            self.row(cells);
        }
    }

    /// One figure of several contenders, with the ratio of the first to each other one.
    pub(super) fn figures(&mut self, what: &str, figures: &[Figure]) {
        let first = figures.first().map_or(0.0, |figure| figure.value);
        for (at, figure) in figures.iter().enumerate() {
            let goal = figure.goal.map_or(String::new(), |goal| goal.to_string());
            let verdict = figure.goal.map_or("", |goal| goal.verdict(figure.value));
            self.row(vec![
                if at == 0 { what.to_owned() } else { String::new() },
                figure.server.clone(),
                format!("{:.3}", figure.value),
                format!("{:.0}", figure.spread),
                if at == 0 { String::new() } else { format!("{:.2}", first / figure.value) },
                goal,
                verdict.to_owned(),
            ]);
        }
    }

    /// The table in columns, or as Markdown.
    pub(super) fn render(&self, is_markdown: bool) -> String {
        let mut text = String::new();
        let head: Vec<String> = self.head.iter().map(|word| (*word).to_owned()).collect();
        if is_markdown {
            push_markdown(&mut text, &head, head.len());
            text.push_str(&format!("|{}\n", "---|".repeat(head.len())));
            self.rows.iter().for_each(|row| push_markdown(&mut text, row, head.len()));
            return text;
        }
        // A sentence in place of figures may run on.
        let is_sentence = |row: &Vec<String>, column: usize| row.len() < head.len() && column > 1;
        let width = |column: usize| {
            let rows = self.rows.iter().chain([&head]);
            let cells =
                rows.filter(|row| !is_sentence(row, column)).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = if is_sentence(row, column) { 0 } else { width(column) };
                // Names to the left, figures to the right.
                let is_name = column < 2 || matches!(self.head.get(column), Some(&("goal" | "")));
                let written = if is_name {
                    write!(line, "{cell:<width$}  ")
                } else {
                    write!(line, "{cell:>width$}  ")
                };
                debug_assert!(written.is_ok(), "writing to a string cannot fail");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn push_markdown(text: &mut String, cells: &[String], columns: usize) {
    text.push('|');
    for column in 0..columns {
        let cell = cells.get(column).map_or("", String::as_str);
        text.push_str(&format!(" {cell} |"));
    }
    text.push('\n');
}

/// A load's figures as cells, in the order of [`Table::of_loads`].
pub(super) fn figures_of(sample: &Sample, spread: f64) -> [String; 7] {
    [
        format!("{:.1}", sample.rate / 1000.0),
        format!("{spread:.0}"),
        format!("{:.3}", sample.p50_ms),
        format!("{:.3}", sample.p99_ms),
        format!("{:.3}", sample.p999_ms),
        format!("{:.2}", sample.cpu_us),
        format!("{:.0}", sample.resident_bytes / f64::from(1 << 20)),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Figure, Line, Table};
    use crate::bench::goal::{Goal, Limit};
    use crate::bench::sample::Sample;

    #[test]
    fn ratios_are_those_of_the_first_to_the_others() {
        let sample = |rate, cpu_us| Ok((Sample { rate, cpu_us, ..Sample::default() }, 3.0));
        let mut table = Table::of_loads();
        let goal = Goal::cpu_us(5.6);
        table.load(
            "GET",
            &[
                Line { server: "keystead", measured: sample(150e3, 6.0), goal },
                Line { server: "redis", measured: sample(100e3, 8.0), goal: Goal::NONE },
                Line { server: "etcd", measured: Err("no such".to_owned()), goal: Goal::NONE },
            ],
        );
        let text = table.render(true);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].starts_with("| GET | keystead | 150.0 | 3 |"), "{text}");
        assert!(lines[2].ends_with("| <= 5.6 us | missed: CPU |"), "{text}");
        assert!(lines[3].contains("| 1.50 | 0.75 |"), "{text}");
        assert!(lines[4].starts_with("|  | etcd | no such |"), "{text}");
        assert!(table.render(false).lines().count() == 4);
    }

    #[test]
    fn figures_stand_beside_their_goal() {
        let mut table = Table::of_figures("s");
        let figure = |server: &str, value, goal| Figure {
            server: server.to_owned(),
            value,
            spread: 0.0,
            goal,
        };
        let ours = figure("keystead", 0.3, Some(Limit::AtMost(0.4)));
        table.figures("restart", &[ours, figure("redis", 0.6, None)]);
        let text = table.render(true);
        assert!(text.contains("| restart | keystead | 0.300 | 0 |  | <= 0.4 | met |"), "{text}");
        assert!(text.contains("|  | redis | 0.600 | 0 | 0.50 |  |  |"), "{text}");
    }
}
