//! Octets as a sequence of operations.

/// What is left of the octets. Every taker gives `None` at their end, which ends a script.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of them.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// One octet.
    pub fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// An octet below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> Option<usize> {
        usize::from(self.octet()?).checked_rem(bound)
    }

    /// Two octets.
    pub fn pair(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.octet()?, self.octet()?]))
    }

    /// As many as the next octet says, or all that are left.
    pub fn some(&mut self) -> Option<&'a [u8]> {
        let wanted = usize::from(self.octet()?);
        let (taken, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        Some(taken)
    }

    /// All that are left.
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }
}
