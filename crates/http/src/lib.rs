//! Thin routers over the control plane: the native API, its document and its pages.
