//! The table of the 75 scenarios, held against the tests that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The numbers that have no test; the table says why.
const WITHOUT_TEST: [u32; 1] = [73];

#[test]
fn every_scenario_of_the_table_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("tests/SCENARIOS.md")).unwrap();
    let mut tested = BTreeSet::new();
    let mut untested = BTreeSet::new();
    for row in table.lines().filter(|row| row.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Ok(number) = cells[1].parse::<u32>() else { continue };
        let (file, test) = (cells[3], cells[4]);
        if file.is_empty() {
            assert!(test.starts_with("none"), "{number}: neither a test nor a reason");
            untested.insert(number);
            continue;
        }
        let source =
            fs::read_to_string(root.join("..").join(file)).unwrap_or_else(|_| panic!("no file {file}"));
        // Attributes may stand between.
        let before = source.split_once(&format!("fn {test}(")).map_or("", |(before, _)| before.trim_end());
        let mut attributes = before.lines().rev().map(str::trim).take_while(|line| line.starts_with("#["));
        let is_there = attributes.any(|line| line == "#[test]");
        assert!(test.starts_with(&format!("scenario_{number}_")) && is_there, "{file} has no {test}");
        tested.insert(number);
    }
    assert_eq!(untested, BTreeSet::from(WITHOUT_TEST));
    assert_eq!(tested, (1..=75).filter(|number| !untested.contains(number)).collect());
}
