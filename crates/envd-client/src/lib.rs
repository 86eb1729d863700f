//! Calls to the guest agent, with caps on all that a hostile guest may answer.
