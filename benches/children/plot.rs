//! The plot: median duration by list length, both on logarithmic axes, for this service and the
//! alternative.

use std::path::Path;

use endcap::store::Engine;
use plotters::prelude::*;

use crate::Op;

/// The lines of the plot: interface, operation and colour.
const LINES: [(&str, Op, RGBColor); 6] = [
    ("naive", Op::Move1, RGBColor(200, 30, 30)),
    ("use case", Op::Move1, RGBColor(20, 90, 200)),
    ("naive", Op::Remove100, RGBColor(240, 150, 120)),
    ("use case", Op::Remove100, RGBColor(110, 170, 240)),
    ("use case", Op::MoveHalf, RGBColor(20, 140, 90)),
    ("use case", Op::Page50, RGBColor(120, 120, 120)),
];

/// Draws the medians (in seconds, by interface, operation and length) into an SVG.
pub(crate) fn draw(
    engine: Engine,
    folder: &Path,
    sizes: &[u64],
    median: impl Fn(&'static str, Op, u64) -> Option<f64>,
) {
    let name = format!("children-{engine:?}.svg").to_lowercase();
    let path = folder.join(name);
    let title = match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    };
    let root = SVGBackend::new(&path, (800, 500)).into_drawing_area();
    root.fill(&WHITE).unwrap();
    let (first, last) = (sizes[0] as f64, *sizes.last().unwrap() as f64);
    let mut chart = ChartBuilder::on(&root)
        .caption(
            format!("Positional operations on {title}"),
            ("sans-serif", 20),
        )
        .margin(12)
        // Room for the half of the last label that extends beyond the axis.
        .margin_right(40)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d((first..last).log_scale(), (1e-5..100.0).log_scale())
        .unwrap();
    chart
        .configure_mesh()
        .x_desc("children in the list")
        .y_desc("median")
        .y_label_formatter(&|seconds| match *seconds {
            s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
            s if s < 1.0 => format!("{:.0} ms", s * 1e3),
            s => format!("{s:.0} s"),
        })
        .x_label_formatter(&|n| format!("{n:.0}"))
        .draw()
        .unwrap();
    for (way, op, colour) in LINES {
        let points: Vec<_> = sizes
            .iter()
            .filter_map(|n| Some((*n as f64, median(way, op, *n)?)))
            .collect();
        let way = if way == "naive" {
            "a row a child, shifted"
        } else {
            "Endcap"
        };
        let line = LineSeries::new(points, colour.stroke_width(2)).point_size(3);
        chart
            .draw_series(line)
            .unwrap()
            .label(format!("{}: {way}", op.name()))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()
        .unwrap();
    root.present().unwrap();
}
