//! Locating wrong shares exactly, up to half of the surplus.
//!
//! Column `c` of the shares, byte `c` of each, is a word of a generalised Reed-Solomon code of length `n'`
//! and dimension `k`. With `r = n' - k` and the column multipliers `u_i = 1 / prod (x_i - x_j)` its syndromes
//! are
//!
//! ```text
//! S_l = sum u_i x_i^l r_i        l = 0 .. r - 1
//! ```
//!
//! They vanish exactly on codewords, so with errors `e_i` at the places `E` they are `sum u_i e_i x_i^l` over
//! `E` alone: a linear recurrence whose characteristic roots are the places. Berlekamp and Massey's algorithm
//! finds the shortest one (J. L. Massey, "Shift-register synthesis and BCH decoding", 1969), unique for at
//! most `r / 2` errors.
//!
//! A liar may spoil any bytes of its share, others than the next liar does, so places found in one column
//! prove nothing about another. But whether the places found so far explain *every* column is tested for all
//! columns at once: the recurrence with just these roots must continue every column's syndromes. One column
//! in which it does not is decoded on its own, and adds at least one place. Nothing here is left to chance.

use alloc::vec;
use alloc::vec::Vec;

use super::super::ShareError;
use super::super::basis::{Basis, places};
use super::super::block::weighted_sum;
use super::super::field::{divide, multiply};
use super::Word;

use crate::list::ToList as _;

/// Where the shares of a word are wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Errors {
    /// Nowhere: all shares lie on polynomials of degree below the threshold.
    None,
    /// At these indices and nowhere else, if at most half of the surplus are wrong.
    At(Vec<usize>),
    /// More than half of the surplus are wrong.
    TooMany,
}

/// Locates the wrong shares of `word`, with the help of the `secret` block if it is known.
///
/// With `f(x) = Y_0 + x g(x)` a known `Y_0` leaves a word `(Y_i - Y_0) / x_i` of a code whose dimension is
/// less by one, and gives one syndrome more: `S_-1`.
pub(super) fn locate(word: &Word<'_>, secret: Option<&[u8]>) -> Result<Errors, ShareError> {
    let places: Vec<u8> = places(&word.coordinates).list();
    let syndromes = syndromes(word, &places, secret)?;
    let radius = syndromes.len() / 2;

    let mut wrong = Vec::new();
    while let Some(column) = unexplained_column(&syndromes, &places, &wrong, word.length) {
        let sequence: Vec<u8> = syndromes.iter().filter_map(|syndrome| syndrome.get(column).copied()).list();
        let Some(found) = locate_in_column(&sequence, &places, radius) else { return Ok(Errors::TooMany) };
        wrong.extend(found);
        wrong.sort_unstable();
        wrong.dedup();
        if wrong.len() > radius {
            return Ok(Errors::TooMany);
        }
    }
    Ok(if wrong.is_empty() { Errors::None } else { Errors::At(wrong) })
}

/// The syndromes of all columns: one block of syndromes for each `l`.
fn syndromes(word: &Word<'_>, places: &[u8], secret: Option<&[u8]>) -> Result<Vec<Vec<u8>>, ShareError> {
    let mut weights = vec![0; places.len()];
    Basis::new(places.iter().copied())?.column_multipliers(&mut weights);
    let mut syndromes = Vec::with_capacity(word.surplus().saturating_add(1));
    if let Some(secret) = secret {
        let mut weights: Vec<u8> = weights.iter().zip(places).map(|(u, x)| divide(*u, *x)).list();
        // Taking the secret from every share is taking it once with the sum of their weights.
        weights.push(weights.iter().fold(0, |sum, weight| sum ^ weight));
        let blocks: Vec<&[u8]> = word.blocks.iter().copied().chain([secret]).list();
        let mut syndrome = vec![0; word.length];
        weighted_sum(&weights, &blocks, &mut syndrome);
        syndromes.push(syndrome);
    }
    for _ in 0..word.surplus() {
        let mut syndrome = vec![0; word.length];
        weighted_sum(&weights, &word.blocks, &mut syndrome);
        syndromes.push(syndrome);
        for (weight, x) in weights.iter_mut().zip(places) {
            *weight = multiply(*weight, *x);
        }
    }
    Ok(syndromes)
}

/// The first column whose errors, if any, are not all at the places `wrong`.
///
/// The locator `prod (1 - x_i z)` over `wrong`, taken as a recurrence, must annihilate the syndromes.
fn unexplained_column(syndromes: &[Vec<u8>], places: &[u8], wrong: &[usize], length: usize) -> Option<usize> {
    let mut locator = vec![1];
    for x in wrong.iter().filter_map(|&i| places.get(i)) {
        multiply_by_root(&mut locator, *x);
    }
    // The window of syndromes runs upwards, the coefficients of the recurrence downwards.
    locator.reverse();
    let mut rest = vec![0; length];
    let mut first = None::<usize>;
    for window in syndromes.windows(locator.len()) {
        let window: Vec<&[u8]> = window.iter().map(Vec::as_slice).list();
        weighted_sum(&locator, &window, &mut rest);
        let found = rest.iter().position(|&byte| byte != 0);
        first = match (first, found) {
            (Some(first), Some(found)) => Some(first.min(found)),
            (first, found) => first.or(found),
        };
    }
    first
}

/// `polynomial *= 1 - x z`, coefficients from the constant one upwards.
fn multiply_by_root(polynomial: &mut Vec<u8>, x: u8) {
    let mut carried = 0;
    for coefficient in polynomial.iter_mut() {
        let shifted = multiply(*coefficient, x);
        *coefficient ^= carried;
        carried = shifted;
    }
    polynomial.push(carried);
}

/// The places of at most `radius` errors that explain the syndromes of one column, or `None` if there are
/// more.
fn locate_in_column(sequence: &[u8], places: &[u8], radius: usize) -> Option<Vec<usize>> {
    let (locator, errors) = shortest_recurrence(sequence);
    if errors > radius {
        return None;
    }
    let is_root = |x: u8| {
        let z = divide(1, x);
        locator.iter().rev().fold(0, |value, coefficient| multiply(value, z) ^ coefficient) == 0
    };
    let roots: Vec<usize> = places.iter().enumerate().filter(|(_, x)| is_root(**x)).map(|(i, _)| i).list();
    // As many distinct roots as the recurrence is long: only then is the sequence a sum over these places.
    (roots.len() == errors).then_some(roots)
}

/// The shortest linear recurrence that makes `sequence`: its connection polynomial from the constant one
/// (which is 1) upwards, and its length.
fn shortest_recurrence(sequence: &[u8]) -> (Vec<u8>, usize) {
    let mut connection = vec![0; sequence.len().saturating_add(1)];
    connection.iter_mut().take(1).for_each(|one| *one = 1);
    let mut length = 0usize;
    // As they were before the length last changed; `since` counts the terms from then on.
    let mut previous = connection.clone();
    let mut previous_discrepancy = 1;
    let mut since = 1usize;
    for (n, _) in sequence.iter().enumerate() {
        let backwards = sequence.iter().take(n.saturating_add(1)).rev();
        let discrepancy = connection
            .iter()
            .take(length.saturating_add(1))
            .zip(backwards)
            .fold(0, |sum, (coefficient, term)| sum ^ multiply(*coefficient, *term));
        if discrepancy == 0 {
            since = since.saturating_add(1);
            continue;
        }
        let before = connection.clone();
        let scale = divide(discrepancy, previous_discrepancy);
        for (coefficient, earlier) in connection.iter_mut().skip(since).zip(&previous) {
            *coefficient ^= multiply(scale, *earlier);
        }
        if length.saturating_mul(2) <= n {
            length = n.saturating_add(1).saturating_sub(length);
            previous = before;
            previous_discrepancy = discrepancy;
            since = 1;
        } else {
            since = since.saturating_add(1);
        }
    }
    (connection, length)
}
