//! Small plots as SVG: how cost grows.

use core::fmt::Write;

/// A line: its name, and pairs of what grows and what it costs.
pub type Line = (String, Vec<(f64, f64)>);

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const MARGIN: f64 = 64.0;
const COLOURS: [&str; 4] = ["#1b6ca8", "#c8553d", "#2a9d5c", "#7d4fa0"];

/// A plot with logarithmic axes (a place of 0 stands at the left edge).
#[must_use]
pub fn plot(title: &str, of: &str, cost: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let bounds = |value: fn(&(f64, f64)) -> f64| {
        let values = points().map(value).filter(|value| *value > 0.0).map(f64::log10);
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        (low.floor(), high.ceil().max(low.floor() + 1.0))
    };
    let (x_bounds, y_bounds) = (bounds(|point| point.0), bounds(|point| point.1));
    let place = |value: f64, (low, high): (f64, f64), from: f64, to: f64| {
        let at = if value > 0.0 { (value.log10() - low) / (high - low) } else { 0.0 };
        from + at * (to - from)
    };
    let x = |value| place(value, x_bounds, MARGIN, WIDTH - 16.0);
    let y = |value| place(value, y_bounds, HEIGHT - MARGIN, 40.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    let text = |svg: &mut String, x: f64, y: f64, anchor: &str, text: &str| {
        writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>").unwrap();
    };
    for exponent in y_bounds.0 as i32..=y_bounds.1 as i32 {
        let at = y(10_f64.powi(exponent));
        let right = WIDTH - 16.0;
        writeln!(svg, "<path d=\"M{MARGIN} {at:.1}H{right}\" stroke=\"#ddd\"/>").unwrap();
        text(&mut svg, MARGIN - 6.0, at + 4.0, "end", &crate::work::in_words(10_f64.powi(exponent)));
    }
    let mut places: Vec<f64> = points().map(|point| point.0).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    for place in places {
        text(&mut svg, x(place), HEIGHT - MARGIN + 18.0, "middle", &place.to_string());
    }
    text(&mut svg, WIDTH / 2.0, HEIGHT - 16.0, "middle", &format!("{of}; {cost} upwards"));
    for (number, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let path: Vec<String> = points.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b))).collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        )
        .unwrap();
        for (a, b) in points {
            writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(*a), y(*b))
                .unwrap();
        }
        let at = 56.0 + 16.0 * number as f64;
        writeln!(svg, "<text x=\"{}\" y=\"{at}\" fill=\"{colour}\">{name}</text>", MARGIN + 10.0).unwrap();
    }
    svg + "</svg>\n"
}
