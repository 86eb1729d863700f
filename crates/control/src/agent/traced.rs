//! Calls of the agent as parts of a trace, whatever call they are.

use connectrpc::client::{BoxFuture, ClientBody, ClientTransport};
use http::{Request, Response};
use hyper::body::Incoming;
use wrenn_traces::{Held, Span};

/// An answer's body.
pub(crate) type Answer = Held<Incoming>;

/// A way to the agent that says with each call to which trace it belongs.
#[derive(Debug, Clone)]
pub(crate) struct Traced<T>(pub(crate) T);

impl<T: ClientTransport> ClientTransport for Traced<T> {
    type ResponseBody = Held<T::ResponseBody>;
    type Error = T::Error;

    fn send(
        &self,
        mut request: Request<ClientBody>,
    ) -> BoxFuture<'static, Result<Response<Self::ResponseBody>, Self::Error>> {
        let path = request.uri().path();
        let method = path.trim_start_matches('/');
        let span = Span::call(|| method.to_owned().into());
        span.set("rpc.system.name", "connectrpc");
        span.tell(request.headers_mut());
        // What it is a part of is where it was called, and the rest is done elsewhere.
        let sent = self.0.send(request);
        Box::pin(async move {
            let response = span
                .around(sent)
                .await
                .inspect_err(|_| span.failed("unreachable"))?;
            let status = response.status();
            span.set("http.response.status_code", i64::from(status.as_u16()));
            if !status.is_success() {
                span.failed(status.as_str().to_owned());
            }
            Ok(response.map(|body| Held::new(body, span)))
        })
    }
}
