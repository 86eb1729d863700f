//! Memory images: sparse files with each page of a guest at its offset, and their packed form.
