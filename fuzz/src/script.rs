//! Fuzz input, read from its beginning; behind its end there are zeros.

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub struct Script<'i>(&'i [u8]);

impl<'i> Script<'i> {
    /// The whole input.
    pub fn new(input: &'i [u8]) -> Self {
        Script(input)
    }

    /// True once all was read.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        byte
    }

    /// A place in a list of so many; 0 for none.
    pub fn place(&mut self, count: usize) -> usize {
        usize::from(self.byte()).checked_rem(count).unwrap_or(0)
    }

    /// So many bytes as the next byte says, or all that is left.
    pub fn piece(&mut self) -> &'i [u8] {
        let count = usize::from(self.byte()).min(self.0.len());
        let (piece, rest) = self.0.split_at(count);
        self.0 = rest;
        piece
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'i [u8] {
        std::mem::take(&mut self.0)
    }
}
