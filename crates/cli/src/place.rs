//! Where following begins, as people write it.

use heartwire::SubFrom;

/// `tail`, `head`, or a cursor to go on behind.
pub(crate) fn parse(text: &str) -> Result<SubFrom, String> {
    match text {
        "tail" => Ok(SubFrom::Tail),
        "head" => Ok(SubFrom::Head),
        cursor => match cursor.parse() {
            Ok(cursor) => Ok(SubFrom::After(cursor)),
            Err(error) => Err(format!("{cursor:?} is neither tail nor head, and {error}")),
        },
    }
}
