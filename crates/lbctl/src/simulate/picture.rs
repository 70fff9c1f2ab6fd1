// SPDX-License-Identifier: Apache-2.0
//! Shares over time as a picture (SVG), and a page around it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::results::Results;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 46.0;
const TOP: f64 = 16.0;
const COLOURS: [&str; 8] =
    ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"];

/// Writes `shares.svg`.
pub fn write_svg(folder: &Path, results: &Results) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("shares.svg"), shares(results))
}

/// A page with the picture and the table.
pub fn html(results: &Results) -> String {
    let mut text = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>lbctl simulate</title>\n\
         <style>body{font:14px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right}\
         td:first-child,th:first-child{text-align:left}</style>\n<h1>Shares over time</h1>\n",
    );
    text += &shares(results);
    text += "\n<table>\n<tr><th>member<th>requests<th>peak<th>failed<th>p50<th>p95<th>p99</tr>\n";
    for member in &results.figures.members {
        let times = [50.0, 95.0, 99.0].map(|percent| member.times.percentile(percent).unwrap_or(0.0) * 1e3);
        // Writing into a text cannot fail.
        let _ = writeln!(
            text,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{:.0} ms<td>{:.0} ms<td>{:.0} ms</tr>",
            escaped(&member.name),
            member.requests,
            member.peak,
            member.failures,
            times[0],
            times[1],
            times[2]
        );
    }
    let figures = &results.figures;
    let _ = writeln!(
        text,
        "</table>\n<p>{} requests in {:.0} s: {} retries, {} unserved.</p>\n</html>",
        figures.requests, results.seconds, figures.retries, figures.unserved
    );
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn shares(results: &Results) -> String {
    let series = &results.figures.series;
    let slots = series.slots.len().max(2);
    let (wide, high) = (WIDTH - LEFT - 120.0, HEIGHT - TOP - 30.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for percent in [0, 25, 50, 75, 100] {
        let y = TOP + high * (1.0 - f64::from(percent) / 100.0);
        // Writing into a text cannot fail.
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {y:.1}h{wide:.1}\" stroke=\"#ddd\"/><text x=\"4\" y=\"{:.1}\">{percent} %</text>",
            y + 4.0
        );
    }
    let end = series.width * series.slots.len() as f64;
    let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"{:.1}\">0 s</text>", HEIGHT - 8.0);
    let _ =
        writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\">{end:.0} s</text>", LEFT + wide - 30.0, HEIGHT - 8.0);
    for (number, member) in results.figures.members.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let mut points = String::new();
        for (slot, share) in series.shares(number).enumerate() {
            let Some(share) = share else { continue };
            let x = LEFT + wide * slot as f64 / (slots - 1) as f64;
            let _ = write!(points, "{x:.1},{:.1} ", TOP + high * (1.0 - share));
        }
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            points.trim_end()
        );
        let y = TOP + 12.0 + 15.0 * number as f64;
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{}</text>",
            WIDTH - 112.0,
            escaped(&member.name)
        );
    }
    text + "</svg>\n"
}
