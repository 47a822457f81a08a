//! Draws what `cargo xtask bench curves --json FILE` measured: `plots FILE.json FOLDER`.
//!
//! Owns: which figures make a picture, axes, colours. Never: measures, smooths or leaves out a point.
//! Both axes are logarithmic: a straight line that rises with slope one grows as its cause does, a level one does not.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people and for xtask"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plotters::prelude::*;
use serde_json::Value;

const SIZE: (u32, u32) = (860, 480);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x7f, 0x7f, 0x7f),
];

/// Points of one line.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

/// One picture.
struct Picture {
    title: String,
    x_name: String,
    y_name: &'static str,
    series: Vec<Series>,
}

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    let [file, folder] = arguments.as_slice() else {
        eprintln!("plots FILE.json FOLDER");
        return ExitCode::FAILURE;
    };
    match draw_all(file, folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}

fn draw_all(file: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let file: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let machine = &file["machine"];
    let fact = |name: &str| machine[name].as_str().unwrap_or("unknown").to_owned();
    let beneath = format!(
        "{}, {}, commit {}, load before {}",
        fact("machine"),
        fact("kernel"),
        fact("commit"),
        fact("load before")
    );
    for curve in file["curves"].as_array().ok_or("holds no curves")? {
        let name = curve["curve"].as_str().ok_or("a curve has no name")?;
        for (figure, picture) in pictures(curve) {
            let path = folder.join(format!("{name}-{figure}.svg"));
            draw(&path, &picture, &beneath)?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// The pictures of a curve, each with its part of the file's name.
fn pictures(curve: &Value) -> Vec<(String, Picture)> {
    let (name, x_name) = (text(&curve["curve"]), text(&curve["x"]));
    let points = curve["points"].as_array().map_or(&[][..], Vec::as_slice);
    let mut made = Vec::new();
    let mut add = |figure: &str, about: &str, y_name, series: Vec<Series>| {
        if series.iter().any(|series| series.points.len() > 1) {
            let title = format!("{about} over {name}");
            made.push((
                figure.to_owned(),
                Picture { title, x_name: x_name.clone(), y_name, series },
            ));
        }
    };
    let cpu = lines(points, |p| p["median"]["cpu_us_per_op"].as_f64(), server_and_load);
    add("cpu", "CPU per operation", "microseconds", cpu);
    let rate = lines(points, |p| p["median"]["ops_per_second"].as_f64(), server_and_load);
    add("rate", "Operations per second", "operations/s", rate);
    let per_key = lines(points, |p| p["bytes_per_key"].as_f64(), |p| text(&p["server"]));
    add("bytes", "Resident bytes per key", "bytes", per_key);
    let resident = |p: &Value| Some(p["median"]["resident_bytes"].as_f64()? / f64::from(1 << 20));
    let resident = lines(points, resident, |p| text(&p["server"]));
    add("memory", "Resident memory", "MiB", resident);
    for load in ["GET", "SET"] {
        let of: Vec<Value> = points.iter().filter(|p| p["load"] == load).cloned().collect();
        let mut series = Vec::new();
        for (percentile, field) in [("p50", "p50_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms")] {
            let name = |p: &Value| format!("{} {percentile}", text(&p["server"]));
            series.extend(lines(&of, |p| p["median"][field].as_f64(), name));
        }
        let figure = format!("latency-{}", load.to_lowercase());
        add(&figure, &format!("Latency of {load}"), "milliseconds", series);
    }
    made
}

/// The points that have the figure, as lines by name, in the order in which names appear.
fn lines(
    points: &[Value],
    figure: impl Fn(&Value) -> Option<f64>,
    name: impl Fn(&Value) -> String,
) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for point in points {
        let (Some(x), Some(y)) = (point["x"].as_f64(), figure(point)) else { continue };
        // A logarithmic axis has no place for nothing.
        if x <= 0.0 || y <= 0.0 {
            continue;
        }
        let name = name(point);
        match series.iter_mut().find(|series| series.name == name) {
            // Several loads share a figure that is the server's: the last one stands.
            Some(series) if series.points.last().is_some_and(|(last, _)| *last == x) => {
                series.points.pop();
                series.points.push((x, y));
            }
            Some(series) => series.points.push((x, y)),
            None => series.push(Series { name, points: vec![(x, y)] }),
        }
    }
    series
}

fn server_and_load(point: &Value) -> String {
    format!("{} {}", text(&point["server"]), text(&point["load"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("unknown").to_owned()
}

/// The least and the greatest of one coordinate.
fn range(series: &[Series], of: fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let all = series.iter().flat_map(|series| &series.points).map(of);
    all.fold((f64::INFINITY, 0.0), |(least, most), value| (value.min(least), value.max(most)))
}

fn draw(path: &Path, picture: &Picture, beneath: &str) -> Result<(), Box<dyn Error>> {
    let (x, y) = (range(&picture.series, |p| p.0), range(&picture.series, |p| p.1));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (upper, lower) = area.split_vertically(SIZE.1 - 22);
    let style = ("sans-serif", 12).into_font().color(&BLACK.mix(0.6));
    lower.draw(&Text::new(beneath.to_owned(), (12, 2), style))?;
    let mut chart = ChartBuilder::on(&upper)
        .caption(&picture.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(38)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (x.0 * 0.9..x.1 * 1.1).log_scale(),
            (y.0 * 0.8..y.1 * 1.25).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(&picture.x_name)
        .y_desc(picture.y_name)
        .x_label_formatter(&|x| shown(*x))
        .y_label_formatter(&|y| shown(*y))
        .light_line_style(BLACK.mix(0.06))
        .bold_line_style(BLACK.mix(0.15))
        .draw()?;
    for (series, colour) in picture.series.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(series.points.iter().copied(), colour.stroke_width(2));
        let drawn = chart.draw_series(line)?.label(&series.name);
        drawn.legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(series.points.iter().map(|at| Circle::new(*at, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

/// A number as an axis shows it: 0.25, 64, 10 k, 1 M.
fn shown(number: f64) -> String {
    let short = |number: f64, unit: &str| {
        let text = format!("{number:.2}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match number {
        n if n >= 1e6 => short(n / 1e6, " M"),
        n if n >= 1e3 => short(n / 1e3, " k"),
        n if n < 0.01 => format!("{n:.4}"),
        n => short(n, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::{pictures, shown};
    use serde_json::{Value, json};

    fn curve() -> Value {
        let point = |x: u64, server: &str, load: &str, cpu: f64| {
            json!({
                "x": x, "server": server, "load": load, "bytes_per_key": 100.0,
                "median": { "cpu_us_per_op": cpu, "p50_ms": 0.3, "p99_ms": 1.0, "p999_ms": 0.0,
                            "ops_per_second": 1e5, "resident_bytes": 1e6 },
            })
        };
        json!({ "curve": "keys", "x": "keys", "points": [
            point(10, "keystead", "GET", 5.0), point(10, "keystead", "SET", 6.0),
            point(100, "keystead", "GET", 5.5), point(100, "keystead", "SET", 6.5),
        ]})
    }

    #[test]
    fn each_figure_is_a_picture_and_each_load_a_line() {
        let made = pictures(&curve());
        let names: Vec<&str> = made.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["cpu", "rate", "bytes", "memory", "latency-get", "latency-set"]);
        let cpu = &made[0].1.series;
        assert_eq!((cpu.len(), cpu[0].name.as_str()), (2, "keystead GET"));
        assert_eq!(cpu[0].points, [(10.0, 5.0), (100.0, 5.5)]);
        // What both loads share is one line with one point at each place.
        assert_eq!(made[2].1.series[0].points, [(10.0, 100.0), (100.0, 100.0)]);
        // Nothing is no place on a logarithmic axis.
        assert_eq!(made[4].1.series.len(), 2);
    }

    #[test]
    fn numbers_are_short() {
        let cases = [(10_000.0, "10 k"), (1_000_000.0, "1 M"), (64.0, "64"), (0.25, "0.25")];
        for (number, text) in cases {
            assert_eq!(shown(number), text);
        }
    }
}
