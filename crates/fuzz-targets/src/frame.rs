//! Frames: whatever arrives is parsed or refused, and what is parsed is said in one way.

use heartwire_proto::frame::{ClientFrame, Message, Payload, ServerFrame};

/// The first byte chooses the end that reads and the kind of message; the rest is the message.
pub fn frame(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let message = match std::str::from_utf8(bytes) {
        Ok(text) if choice & 1 == 0 => Message::Text(text),
        _ => Message::Binary(bytes),
    };
    match choice & 2 {
        0 => client(message),
        _ => server(message),
    }
}

fn client(message: Message<'_>) {
    let Ok(frame) = ClientFrame::parse(message) else {
        return;
    };
    let said = frame.to_payload();
    assert_eq!(ClientFrame::parse(said.as_message()), Ok(frame.clone()));
    if !matches!(frame, ClientFrame::Hello(_) | ClientFrame::Token(_)) {
        said_alike(message, &said);
    }
}

fn server(message: Message<'_>) {
    let Ok(frame) = ServerFrame::parse(message) else {
        return;
    };
    // What it means is for later versions to say.
    if matches!(frame, ServerFrame::Unknown { .. }) {
        return;
    }
    let said = frame.to_payload();
    assert_eq!(ServerFrame::parse(said.as_message()), Ok(frame.clone()));
    // A `msg` may name the offset before it although it is the one that all know.
    if !matches!(frame, ServerFrame::Welcome(_) | ServerFrame::Msg { .. }) {
        said_alike(message, &said);
    }
}

/// There is one spelling, but for an LF at the end that nothing follows and the default of `sub`.
fn said_alike(message: Message<'_>, said: &Payload) {
    let bare = |bytes: &[u8]| {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let is_sub = bytes.starts_with(b"sub ");
        let bytes = bytes
            .strip_suffix(b" tail")
            .filter(|_| is_sub)
            .unwrap_or(bytes);
        bytes.to_vec()
    };
    assert_eq!(bare(message.as_bytes()), bare(said.as_bytes()));
}
