//! The tables of results.

use std::{collections::HashMap, fmt::Write as _, time::Duration};

use endcap::store::Engine;

use crate::Op;

/// The durations of an operation, and what it wrote and sent.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) median: Duration,
    p99: Duration,
    rows: Option<f64>,
    statements: Option<f64>,
}

impl Cell {
    pub(crate) fn of(mut times: Vec<Duration>, rows: Option<f64>, statements: Option<f64>) -> Self {
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
        Self {
            median: at(0.5),
            p99: at(0.99),
            rows,
            statements,
        }
    }
}

pub(crate) struct Report {
    engine: Engine,
    cells: HashMap<(&'static str, Op, u64), Cell>,
    loads: Vec<(&'static str, u64, Duration)>,
    sizes: Vec<u64>,
}

impl Report {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            cells: HashMap::new(),
            loads: Vec::new(),
            sizes: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, way: &'static str, op: Op, n: u64, cell: Cell) {
        if !self.sizes.contains(&n) {
            self.sizes.push(n);
        }
        self.cells.insert((way, op, n), cell);
    }

    pub(crate) fn loaded(&mut self, way: &'static str, n: u64, time: Duration) {
        self.loads.push((way, n, time));
    }

    /// The median, in seconds.
    pub(crate) fn median(&self, way: &'static str, op: Op, n: u64) -> Option<f64> {
        let cell = self.cells.get(&(way, op, n))?;
        Some(cell.median.as_secs_f64())
    }

    pub(crate) fn finish(&self) -> String {
        let mut text = format!("\n## {:?}\n", self.engine);
        for way in ["use case", "gRPC", "updateCollection", "naive"] {
            self.table(&mut text, way);
        }
        self.growth(&mut text);
        self.against_naive(&mut text);
        text.push_str("\n### Loading\n\n| way | n | seconds | ids/s |\n|---|---|---|---|\n");
        for (way, n, time) in &self.loads {
            let seconds = time.as_secs_f64();
            let rate = *n as f64 / seconds;
            let _ = writeln!(text, "| {way} | {n} | {seconds:.3} | {rate:.0} |");
        }
        text
    }

    fn table(&self, text: &mut String, way: &'static str) {
        let first = self.sizes[0];
        let _ = writeln!(text, "\n### {way}\n");
        let mut head = "| operation |".to_owned();
        for n in &self.sizes {
            let _ = write!(head, " {n}: p50 / p99 (ratio to {first}) |");
        }
        let rule = "|---".repeat(self.sizes.len() + 1);
        let _ = writeln!(text, "{head} rows | statements |\n{rule}|---|---|");
        for op in Op::ALL {
            if !self.cells.contains_key(&(way, op, first)) {
                continue;
            }
            let mut line = format!("| {} |", op.name());
            for n in &self.sizes {
                match (
                    self.cells.get(&(way, op, *n)),
                    self.cells.get(&(way, op, first)),
                ) {
                    (Some(cell), Some(base)) => {
                        let ratio = cell.median.as_secs_f64() / base.median.as_secs_f64();
                        let (p50, p99) = (time(cell.median), time(cell.p99));
                        let _ = write!(line, " {p50} / {p99} ({ratio:.1}) |");
                    }
                    _ => line.push_str(" |"),
                }
            }
            let last = self
                .sizes
                .last()
                .and_then(|n| self.cells.get(&(way, op, *n)));
            let shown = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.1}"));
            let rows = shown(last.and_then(|cell| cell.rows));
            let statements = shown(last.and_then(|cell| cell.statements));
            let _ = writeln!(text, "{line} {rows} | {statements} |");
        }
    }

    /// The exponent by which the median grows from 10,000 children to the largest size.
    fn growth(&self, text: &mut String) {
        let (from, to) = (10_000, *self.sizes.last().unwrap_or(&0));
        if !self.sizes.contains(&from) || to <= from {
            return;
        }
        let _ = writeln!(
            text,
            "\n### Growth, {from} to {to}: 0 is flat, 1 is linear\n"
        );
        let ways = ["use case", "gRPC", "updateCollection", "naive"];
        let _ = writeln!(
            text,
            "| operation | {} |\n|---|---|---|---|---|",
            ways.join(" | ")
        );
        for op in Op::ALL {
            let exponent = |way: &'static str| {
                let (small, large) = (self.median(way, op, from)?, self.median(way, op, to)?);
                Some((large / small).ln() / (to as f64 / from as f64).ln())
            };
            let shown = |way| exponent(way).map_or(String::new(), |e| format!("{e:.2}"));
            let shown = ways.map(shown).join(" | ");
            let _ = writeln!(text, "| {} | {shown} |", op.name());
        }
    }

    fn against_naive(&self, text: &mut String) {
        let Some(&n) = self.sizes.last() else { return };
        let _ = writeln!(text, "\n### At {n}\n");
        text.push_str("| operation | naive / use case | / move 1 (use case) |\n|---|---|---|\n");
        let median = |way, op| self.median(way, op, n);
        for op in Op::ALL {
            let (Some(ours), Some(one)) = (median("use case", op), median("use case", Op::Move1))
            else {
                continue;
            };
            let naive = median("naive", op).map_or(String::new(), |t| format!("{:.1}", t / ours));
            let _ = writeln!(text, "| {} | {naive} | {:.1} |", op.name(), ours / one);
        }
    }
}

pub(crate) fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}
