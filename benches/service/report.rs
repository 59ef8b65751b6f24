//! The tables of results, in Markdown.

use std::{fmt::Write as _, time::Duration};

use crate::{
    load::Sample,
    rows::{By, RATIOS, Ratio},
    scene::{Mode, Scene},
};

/// The medians over the rounds, of each figure separately.
fn medians(samples: &[Sample]) -> Sample {
    let times: Option<(Vec<_>, Vec<_>)> = samples.iter().map(|sample| sample.times).collect();
    let middle = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let costs: Option<Vec<_>> = samples.iter().map(|sample| sample.cpu).collect();
    Sample {
        rate: median(samples.iter().map(|sample| sample.rate).collect()),
        times: times.map(|(p50s, p99s)| (middle(p50s), middle(p99s))),
        cpu: costs.map(median),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn duration(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1e3 {
        format!("{micros:.0} µs")
    } else {
        format!("{:.2} ms", micros / 1e3)
    }
}

/// The lowest and the highest rate of a round relative to the median, in percent.
fn spread(samples: &[Sample], median: f64) -> String {
    let rates = samples.iter().map(|sample| sample.rate / median * 100.0);
    let slowest = rates.clone().fold(f64::INFINITY, f64::min);
    format!("{slowest:.0}–{:.0} %", rates.fold(0.0, f64::max))
}

pub(crate) fn tables(scene: &Scene) -> String {
    let mut out = String::new();
    let mut line = |line: String| writeln!(out, "{line}").unwrap();
    line("| what | clients | requests/s | p50 | p99 | CPU µs a request | rounds |".into());
    line("|---|---|---|---|---|---|---|".into());
    for mode in &scene.modes {
        for (clients, samples) in &mode.samples {
            let it = medians(samples);
            let none = || "–".to_owned();
            let cpu = it.cpu.map_or_else(none, |cpu| format!("{cpu:.0}"));
            let time = |time: Option<Duration>| time.map_or_else(none, duration);
            line(format!(
                "| {} | {clients} | {:.0} | {} | {} | {cpu} | {} |",
                mode.row,
                it.rate,
                time(it.times.map(|(p50, _)| p50)),
                time(it.times.map(|(_, p99)| p99)),
                spread(samples, it.rate)
            ));
        }
    }
    line(String::new());
    line("| ratio | before | now | target | rounds |".into());
    line("|---|---|---|---|---|".into());
    for ratio in &RATIOS {
        let Some(mut of_rounds) = rounds(&scene.modes, ratio) else {
            continue;
        };
        of_rounds.sort_by(f64::total_cmp);
        let (lowest, highest) = (of_rounds[0], of_rounds[of_rounds.len() - 1]);
        let (what, before, target) = (ratio.what, ratio.before, ratio.target);
        let now = median(of_rounds);
        line(format!(
            "| {what} | {before} | {now:.2} | {target} | {lowest:.2}–{highest:.2} |"
        ));
    }
    for left_out in &scene.left_out {
        line(format!("\n{left_out}"));
    }
    out
}

/// The ratio in each round, because temporary load on the machine affects both of its terms. `None`
/// if one of them was not measured.
fn rounds(modes: &[Mode], ratio: &Ratio) -> Option<Vec<f64>> {
    let of = |(row, clients): (&str, usize)| {
        let mode = modes.iter().find(|mode| mode.row == row)?;
        let (_, samples) = mode.samples.iter().find(|(count, _)| *count == clients)?;
        let figure = |sample: &Sample| match ratio.by {
            By::Rate => Some(sample.rate),
            By::P50 => Some(sample.times?.0.as_secs_f64()),
        };
        samples.iter().map(figure).collect::<Option<Vec<_>>>()
    };
    let (over, under) = (of(ratio.over)?, of(ratio.under)?);
    Some(
        over.iter()
            .zip(under)
            .map(|(over, under)| over / under)
            .collect(),
    )
}
