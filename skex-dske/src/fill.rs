//! How full the tables inside a machine are.

/// The shortest queue of messages with which a machine can serve: one that is configured shorter counts as this.
pub(crate) const LEAST_QUEUE: usize = 64;

/// One kind of table inside a machine: what it holds, and what it can hold by its limits. For the operator, who sees a
/// flood or a bound that is too small here; at the bound the machine refuses or discards, and never grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fill {
    /// What it holds: a name of this library's, the same in every version that has the table.
    pub table: &'static str,
    /// Entries now.
    pub held: usize,
    /// Entries at most.
    pub bound: usize,
}

impl Fill {
    pub(crate) const fn new(table: &'static str, held: usize, bound: usize) -> Self {
        Self { table, held, bound }
    }
}
