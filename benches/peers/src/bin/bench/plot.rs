// SPDX-License-Identifier: Apache-2.0
//! Plots as SVG: lines over a logarithmic axis, and rows of marks. They follow the reader's light
//! or dark scheme.

use std::fmt::Write;

/// Colours that stand out on white and on near-black; marks and dashes tell lines apart without
/// them.
const COLOURS: [&str; 12] = [
    "#3b82f6", "#e8833a", "#2ea36b", "#e05252", "#a371f7", "#22a6b3", "#c9a227", "#d96fa8", "#8b949e",
    "#a97142", "#6a8f2f", "#5b6ee1",
];
const DASHES: [&str; 3] = ["none", "6 3", "2 3"];
const STYLE: &str = "<style>text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:600}\
    .back{fill:#fff}.grid{stroke:#d1d9e0}.axis{stroke:#59636e}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.back{fill:#0d1117}.grid{stroke:#30363d}.axis{stroke:#9198a1}}</style>";

const WIDTH: f64 = 860.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 48.0;

/// A line with a name.
#[derive(Clone, Debug)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// The points; those that are not numbers are left out.
    pub points: Vec<(f64, f64)>,
}

/// Lines over a logarithmic horizontal axis, which has its ticks at the points.
#[derive(Clone, Debug)]
pub struct LinePlot {
    /// Above.
    pub title: String,
    /// Under the horizontal axis.
    pub x: String,
    /// Whether the vertical axis is logarithmic too.
    pub log_y: bool,
    /// The lines to draw.
    pub lines: Vec<Line>,
}

/// A row of marks with a name.
#[derive(Clone, Debug)]
pub struct Row {
    /// At the left.
    pub name: String,
    /// A number for each mark.
    pub values: Vec<f64>,
}

/// Rows of marks over a logarithmic axis.
#[derive(Clone, Debug)]
pub struct RowPlot {
    /// Above.
    pub title: String,
    /// Under the axis.
    pub x: String,
    /// The meaning of the marks.
    pub marks: Vec<String>,
    /// The rows to draw.
    pub rows: Vec<Row>,
}

/// From values to places.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, log: bool, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && (!log || *value > 0.0)) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 2.0);
        }
        let mut axis = Self { low, high, from, to, log };
        let (a, b) = (axis.scale(low), axis.scale(high));
        let room = ((b - a) * 0.06).max(0.01);
        (axis.low, axis.high) = (axis.value(a - room), axis.value(b + room));
        axis
    }

    fn scale(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    fn value(&self, scaled: f64) -> f64 {
        if self.log { 10_f64.powf(scaled) } else { scaled }
    }

    fn place(&self, value: f64) -> f64 {
        let (low, high) = (self.scale(self.low), self.scale(self.high));
        self.from + (self.scale(value) - low) / (high - low) * (self.to - self.from)
    }

    /// Round numbers between the ends.
    fn ticks(&self) -> Vec<f64> {
        let round = if self.log { self.log_ticks() } else { self.linear_ticks() };
        round.into_iter().filter(|tick| *tick >= self.low && *tick <= self.high).collect()
    }

    fn log_ticks(&self) -> Vec<f64> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let wide = self.high / self.low > 2000.0;
        let steps: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade))).collect()
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 6.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }
}

/// Draws lines; the legend has them in the order in which they end.
pub fn lines(plot: &LinePlot) -> String {
    let (right, bottom) = (WIDTH - 260.0, TOP + 340.0);
    let points = || plot.lines.iter().flat_map(|line| line.points.iter().copied());
    let x = Axis::new(points().map(|point| point.0), true, LEFT, right);
    let y = Axis::new(points().map(|point| point.1), plot.log_y, bottom, TOP);
    let mut svg = head(&plot.title, (bottom + 50.0).max(TOP + 30.0 + plot.lines.len() as f64 * 20.0));
    for tick in y.ticks() {
        grid(&mut svg, (LEFT, y.place(tick)), (right, y.place(tick)));
        text(&mut svg, LEFT - 8.0, y.place(tick) + 4.0, "end", &number(tick));
    }
    let mut columns: Vec<f64> = points().map(|point| point.0).filter(|x| x.is_finite() && *x > 0.0).collect();
    columns.sort_by(f64::total_cmp);
    columns.dedup();
    for column in columns {
        grid(&mut svg, (x.place(column), TOP), (x.place(column), bottom));
        text(&mut svg, x.place(column), bottom + 18.0, "middle", &number(column));
    }
    frame(&mut svg, right, bottom, &plot.x);
    let mut order: Vec<(usize, &Line)> = plot.lines.iter().enumerate().collect();
    order.sort_by(|(_, a), (_, b)| last(b).total_cmp(&last(a)));
    for (place, (index, line)) in order.into_iter().enumerate() {
        let drawn: Vec<(f64, f64)> = line
            .points
            .iter()
            .filter(|point| point.1.is_finite() && (!plot.log_y || point.1 > 0.0))
            .map(|point| (x.place(point.0), y.place(point.1)))
            .collect();
        path(&mut svg, index, &drawn);
        let row = TOP + 8.0 + place as f64 * 20.0;
        path(&mut svg, index, &[(right + 14.0, row), (right + 42.0, row)]);
        text(&mut svg, right + 50.0, row + 4.0, "start", &line.name);
    }
    svg + "</svg>\n"
}

/// Draws rows of marks, with a line from the first to the last.
pub fn rows(plot: &RowPlot) -> String {
    let (left, right, step) = (LEFT + 190.0, WIDTH - 24.0, 26.0);
    let (top, bottom) = (TOP + 24.0, TOP + 36.0 + plot.rows.len() as f64 * step);
    let x = Axis::new(plot.rows.iter().flat_map(|row| row.values.iter().copied()), true, left, right);
    let mut svg = head(&plot.title, bottom + 50.0);
    for tick in x.ticks() {
        grid(&mut svg, (x.place(tick), top), (x.place(tick), bottom));
        text(&mut svg, x.place(tick), bottom + 18.0, "middle", &number(tick));
    }
    let _ =
        writeln!(svg, "<line class=\"axis\" x1=\"{left}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/>");
    text(&mut svg, f64::midpoint(left, right), bottom + 38.0, "middle", &plot.x);
    for (index, name) in plot.marks.iter().enumerate() {
        let place = left + index as f64 * 90.0;
        mark(&mut svg, index, (place, TOP + 6.0));
        text(&mut svg, place + 10.0, TOP + 10.0, "start", name);
    }
    for (index, row) in plot.rows.iter().enumerate() {
        let y = top + 18.0 + index as f64 * step;
        text(&mut svg, left - 10.0, y + 4.0, "end", &row.name);
        let places: Vec<(usize, f64)> = row.values.iter().map(|value| x.place(*value)).enumerate().collect();
        let places: Vec<(usize, f64)> = places.into_iter().filter(|(_, place)| place.is_finite()).collect();
        if let (Some((_, from)), Some((_, to))) = (places.first(), places.last()) {
            grid(&mut svg, (*from, y), (*to, y));
        }
        places.into_iter().for_each(|(index, place)| mark(&mut svg, index, (place, y)));
    }
    svg + "</svg>\n"
}

fn last(line: &Line) -> f64 {
    let values = line.points.iter().rev().map(|point| point.1);
    values.into_iter().find(|value| value.is_finite()).unwrap_or(f64::NEG_INFINITY)
}

fn head(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         {STYLE}\n<rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>\n<text class=\"title\" x=\"16\" y=\"26\">{}</text>\n",
        escaped(title)
    )
}

fn frame(svg: &mut String, right: f64, bottom: f64, x: &str) {
    let _ = writeln!(svg, "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
    text(svg, f64::midpoint(LEFT, right), bottom + 38.0, "middle", x);
}

fn grid(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ =
        writeln!(svg, "<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let content = escaped(content);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

fn path(svg: &mut String, index: usize, points: &[(f64, f64)]) {
    let words: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\" points=\"{}\"/>",
        COLOURS[index % COLOURS.len()],
        DASHES[variant(index) % DASHES.len()],
        words.join(" ")
    );
    points.iter().for_each(|point| mark(svg, index, *point));
}

/// A disc, a square, a diamond or a triangle.
fn mark(svg: &mut String, index: usize, (x, y): (f64, f64)) {
    let colour = COLOURS[index % COLOURS.len()];
    let shape = match variant(index) % 4 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\""),
        1 => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\"", x - 3.5, y - 3.5),
        2 => format!("<path d=\"M{x:.1} {:.1}l5 5l-5 5l-5 -5z\"", y - 5.0),
        _ => format!("<path d=\"M{x:.1} {:.1}l5 9h-10z\"", y - 5.0),
    };
    let _ = writeln!(svg, "{shape} fill=\"{colour}\"/>");
}

/// Another dash and mark when the colours begin again.
fn variant(index: usize) -> usize {
    index + index / COLOURS.len()
}

/// As short as it may be.
fn number(value: f64) -> String {
    let text = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(log_y: bool, points: Vec<(f64, f64)>) -> String {
        let line = Line { name: "a <b>".to_owned(), points };
        lines(&LinePlot { title: "t".to_owned(), x: "members".to_owned(), log_y, lines: vec![line] })
    }

    #[test]
    fn a_line_has_a_mark_at_each_point_and_one_pair_in_the_legend() {
        let svg = plot(false, vec![(3.0, 1.0), (100.0, 1.1), (1000.0, 1.5)]);
        assert_eq!(svg.matches("<circle").count(), 5);
        assert!(svg.contains(">1000</text>") && svg.contains(">1.4</text>"), "{svg}");
        assert!(svg.contains("a &lt;b&gt;") && svg.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn values_that_are_not_numbers_are_left_out() {
        for log in [false, true] {
            for svg in [plot(log, vec![(3.0, f64::NAN), (100.0, 2.0)]), plot(log, vec![])] {
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::new([2.2, 20.5].into_iter(), true, 0.0, 100.0);
        assert_eq!(axis.ticks(), [2.0, 5.0, 10.0, 20.0]);
        let axis = Axis::new([0.98, 1.5].into_iter(), false, 0.0, 100.0);
        assert_eq!(
            axis.ticks().iter().map(|tick| number(*tick)).collect::<Vec<_>>(),
            ["1", "1.1", "1.2", "1.3", "1.4", "1.5"]
        );
    }

    #[test]
    fn every_row_has_its_marks_in_order() {
        let row = Row { name: "x".to_owned(), values: vec![2.2, 20.0, 20.5] };
        let marks = ["p50", "p99", "p99.9"].map(str::to_owned).to_vec();
        let svg = rows(&RowPlot { title: "t".to_owned(), x: "ms".to_owned(), marks, rows: vec![row] });
        assert_eq!(svg.matches("<circle").count() + svg.matches("<rect x").count(), 4);
        assert!(svg.contains(">p99.9</text>"));
    }
}
