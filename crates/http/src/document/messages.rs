//! What the derived schemas of a stream's messages say wrongly.

use utoipa::ToSchema as _;
use utoipa::openapi::schema::Components;
use utoipa::openapi::{RefOr, Schema};
use wrenn_api::{ClientMessage, StartCommand};

/// Makes one object of the message that starts a command. As derived it is all of two, the command and the message's name,
/// and a command takes no field beside its own: nothing could keep to both.
pub(super) fn join_start(components: &mut Components) {
    let command = components.schemas.get(&*StartCommand::name()).cloned();
    let messages = components.schemas.get_mut(&*ClientMessage::name());
    let (Some(RefOr::T(Schema::Object(command))), Some(RefOr::T(Schema::OneOf(messages)))) =
        (command, messages)
    else {
        return;
    };
    for message in &mut messages.items {
        let RefOr::T(Schema::AllOf(start)) = message else {
            continue;
        };
        let mut whole = command.clone();
        whole.description.clone_from(&start.description);
        for part in &start.items {
            if let RefOr::T(Schema::Object(name)) = part {
                whole.required.extend(name.required.iter().cloned());
                whole.properties.extend(name.properties.clone());
            }
        }
        *message = whole.into();
    }
}
