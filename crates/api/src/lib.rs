//! Request and answer types and error codes of the REST API.
