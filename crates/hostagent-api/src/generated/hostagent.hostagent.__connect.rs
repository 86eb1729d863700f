///Shorthand for `OwnedView<CreateSandboxRequestView<'static>>`.
pub type OwnedCreateSandboxRequestView = ::buffa::view::OwnedView<
    __buffa::view::CreateSandboxRequestView<'static>,
>;
///Shorthand for `OwnedView<CreateSandboxResponseView<'static>>`.
pub type OwnedCreateSandboxResponseView = ::buffa::view::OwnedView<
    __buffa::view::CreateSandboxResponseView<'static>,
>;
///Shorthand for `OwnedView<DestroySandboxRequestView<'static>>`.
pub type OwnedDestroySandboxRequestView = ::buffa::view::OwnedView<
    __buffa::view::DestroySandboxRequestView<'static>,
>;
///Shorthand for `OwnedView<DestroySandboxResponseView<'static>>`.
pub type OwnedDestroySandboxResponseView = ::buffa::view::OwnedView<
    __buffa::view::DestroySandboxResponseView<'static>,
>;
///Shorthand for `OwnedView<ListSandboxesRequestView<'static>>`.
pub type OwnedListSandboxesRequestView = ::buffa::view::OwnedView<
    __buffa::view::ListSandboxesRequestView<'static>,
>;
///Shorthand for `OwnedView<ListSandboxesResponseView<'static>>`.
pub type OwnedListSandboxesResponseView = ::buffa::view::OwnedView<
    __buffa::view::ListSandboxesResponseView<'static>,
>;
///Shorthand for `OwnedView<WatchSandboxesRequestView<'static>>`.
pub type OwnedWatchSandboxesRequestView = ::buffa::view::OwnedView<
    __buffa::view::WatchSandboxesRequestView<'static>,
>;
///Shorthand for `OwnedView<WatchSandboxesResponseView<'static>>`.
pub type OwnedWatchSandboxesResponseView = ::buffa::view::OwnedView<
    __buffa::view::WatchSandboxesResponseView<'static>,
>;
///Shorthand for `OwnedView<PauseSandboxRequestView<'static>>`.
pub type OwnedPauseSandboxRequestView = ::buffa::view::OwnedView<
    __buffa::view::PauseSandboxRequestView<'static>,
>;
///Shorthand for `OwnedView<PauseSandboxResponseView<'static>>`.
pub type OwnedPauseSandboxResponseView = ::buffa::view::OwnedView<
    __buffa::view::PauseSandboxResponseView<'static>,
>;
///Shorthand for `OwnedView<ResumeSandboxRequestView<'static>>`.
pub type OwnedResumeSandboxRequestView = ::buffa::view::OwnedView<
    __buffa::view::ResumeSandboxRequestView<'static>,
>;
///Shorthand for `OwnedView<ResumeSandboxResponseView<'static>>`.
pub type OwnedResumeSandboxResponseView = ::buffa::view::OwnedView<
    __buffa::view::ResumeSandboxResponseView<'static>,
>;
///Shorthand for `OwnedView<SetNetworkRequestView<'static>>`.
pub type OwnedSetNetworkRequestView = ::buffa::view::OwnedView<
    __buffa::view::SetNetworkRequestView<'static>,
>;
///Shorthand for `OwnedView<SetNetworkResponseView<'static>>`.
pub type OwnedSetNetworkResponseView = ::buffa::view::OwnedView<
    __buffa::view::SetNetworkResponseView<'static>,
>;
///Shorthand for `OwnedView<PingRequestView<'static>>`.
pub type OwnedPingRequestView = ::buffa::view::OwnedView<
    __buffa::view::PingRequestView<'static>,
>;
///Shorthand for `OwnedView<PingResponseView<'static>>`.
pub type OwnedPingResponseView = ::buffa::view::OwnedView<
    __buffa::view::PingResponseView<'static>,
>;
///Shorthand for `OwnedView<ExecRequestView<'static>>`.
pub type OwnedExecRequestView = ::buffa::view::OwnedView<
    __buffa::view::ExecRequestView<'static>,
>;
///Shorthand for `OwnedView<ExecResponseView<'static>>`.
pub type OwnedExecResponseView = ::buffa::view::OwnedView<
    __buffa::view::ExecResponseView<'static>,
>;
///Shorthand for `OwnedView<ExecStreamRequestView<'static>>`.
pub type OwnedExecStreamRequestView = ::buffa::view::OwnedView<
    __buffa::view::ExecStreamRequestView<'static>,
>;
///Shorthand for `OwnedView<ExecStreamResponseView<'static>>`.
pub type OwnedExecStreamResponseView = ::buffa::view::OwnedView<
    __buffa::view::ExecStreamResponseView<'static>,
>;
///Shorthand for `OwnedView<ExecAttachRequestView<'static>>`.
pub type OwnedExecAttachRequestView = ::buffa::view::OwnedView<
    __buffa::view::ExecAttachRequestView<'static>,
>;
///Shorthand for `OwnedView<ExecTerminalRequestView<'static>>`.
pub type OwnedExecTerminalRequestView = ::buffa::view::OwnedView<
    __buffa::view::ExecTerminalRequestView<'static>,
>;
///Shorthand for `OwnedView<ResizeTerminalRequestView<'static>>`.
pub type OwnedResizeTerminalRequestView = ::buffa::view::OwnedView<
    __buffa::view::ResizeTerminalRequestView<'static>,
>;
///Shorthand for `OwnedView<ResizeTerminalResponseView<'static>>`.
pub type OwnedResizeTerminalResponseView = ::buffa::view::OwnedView<
    __buffa::view::ResizeTerminalResponseView<'static>,
>;
///Shorthand for `OwnedView<SendInputRequestView<'static>>`.
pub type OwnedSendInputRequestView = ::buffa::view::OwnedView<
    __buffa::view::SendInputRequestView<'static>,
>;
///Shorthand for `OwnedView<SendInputResponseView<'static>>`.
pub type OwnedSendInputResponseView = ::buffa::view::OwnedView<
    __buffa::view::SendInputResponseView<'static>,
>;
///Shorthand for `OwnedView<CloseInputRequestView<'static>>`.
pub type OwnedCloseInputRequestView = ::buffa::view::OwnedView<
    __buffa::view::CloseInputRequestView<'static>,
>;
///Shorthand for `OwnedView<CloseInputResponseView<'static>>`.
pub type OwnedCloseInputResponseView = ::buffa::view::OwnedView<
    __buffa::view::CloseInputResponseView<'static>,
>;
///Shorthand for `OwnedView<SendSignalRequestView<'static>>`.
pub type OwnedSendSignalRequestView = ::buffa::view::OwnedView<
    __buffa::view::SendSignalRequestView<'static>,
>;
///Shorthand for `OwnedView<SendSignalResponseView<'static>>`.
pub type OwnedSendSignalResponseView = ::buffa::view::OwnedView<
    __buffa::view::SendSignalResponseView<'static>,
>;
///Shorthand for `OwnedView<WriteFileRequestView<'static>>`.
pub type OwnedWriteFileRequestView = ::buffa::view::OwnedView<
    __buffa::view::WriteFileRequestView<'static>,
>;
///Shorthand for `OwnedView<WriteFileResponseView<'static>>`.
pub type OwnedWriteFileResponseView = ::buffa::view::OwnedView<
    __buffa::view::WriteFileResponseView<'static>,
>;
///Shorthand for `OwnedView<ReadFileRequestView<'static>>`.
pub type OwnedReadFileRequestView = ::buffa::view::OwnedView<
    __buffa::view::ReadFileRequestView<'static>,
>;
///Shorthand for `OwnedView<ReadFileResponseView<'static>>`.
pub type OwnedReadFileResponseView = ::buffa::view::OwnedView<
    __buffa::view::ReadFileResponseView<'static>,
>;
///Shorthand for `OwnedView<WriteFileStreamRequestView<'static>>`.
pub type OwnedWriteFileStreamRequestView = ::buffa::view::OwnedView<
    __buffa::view::WriteFileStreamRequestView<'static>,
>;
///Shorthand for `OwnedView<WriteFileStreamResponseView<'static>>`.
pub type OwnedWriteFileStreamResponseView = ::buffa::view::OwnedView<
    __buffa::view::WriteFileStreamResponseView<'static>,
>;
///Shorthand for `OwnedView<ReadFileStreamRequestView<'static>>`.
pub type OwnedReadFileStreamRequestView = ::buffa::view::OwnedView<
    __buffa::view::ReadFileStreamRequestView<'static>,
>;
///Shorthand for `OwnedView<ReadFileStreamResponseView<'static>>`.
pub type OwnedReadFileStreamResponseView = ::buffa::view::OwnedView<
    __buffa::view::ReadFileStreamResponseView<'static>,
>;
///Shorthand for `OwnedView<ConsoleRequestView<'static>>`.
pub type OwnedConsoleRequestView = ::buffa::view::OwnedView<
    __buffa::view::ConsoleRequestView<'static>,
>;
///Shorthand for `OwnedView<ConsoleResponseView<'static>>`.
pub type OwnedConsoleResponseView = ::buffa::view::OwnedView<
    __buffa::view::ConsoleResponseView<'static>,
>;
///Shorthand for `OwnedView<MetricsRequestView<'static>>`.
pub type OwnedMetricsRequestView = ::buffa::view::OwnedView<
    __buffa::view::MetricsRequestView<'static>,
>;
///Shorthand for `OwnedView<MetricsResponseView<'static>>`.
pub type OwnedMetricsResponseView = ::buffa::view::OwnedView<
    __buffa::view::MetricsResponseView<'static>,
>;
///Shorthand for `OwnedView<MeasureStorageRequestView<'static>>`.
pub type OwnedMeasureStorageRequestView = ::buffa::view::OwnedView<
    __buffa::view::MeasureStorageRequestView<'static>,
>;
///Shorthand for `OwnedView<MeasureStorageResponseView<'static>>`.
pub type OwnedMeasureStorageResponseView = ::buffa::view::OwnedView<
    __buffa::view::MeasureStorageResponseView<'static>,
>;
///Shorthand for `OwnedView<CreateSnapshotRequestView<'static>>`.
pub type OwnedCreateSnapshotRequestView = ::buffa::view::OwnedView<
    __buffa::view::CreateSnapshotRequestView<'static>,
>;
///Shorthand for `OwnedView<CreateSnapshotResponseView<'static>>`.
pub type OwnedCreateSnapshotResponseView = ::buffa::view::OwnedView<
    __buffa::view::CreateSnapshotResponseView<'static>,
>;
///Shorthand for `OwnedView<DeleteSnapshotRequestView<'static>>`.
pub type OwnedDeleteSnapshotRequestView = ::buffa::view::OwnedView<
    __buffa::view::DeleteSnapshotRequestView<'static>,
>;
///Shorthand for `OwnedView<DeleteSnapshotResponseView<'static>>`.
pub type OwnedDeleteSnapshotResponseView = ::buffa::view::OwnedView<
    __buffa::view::DeleteSnapshotResponseView<'static>,
>;
///Shorthand for `OwnedView<ForkRequestView<'static>>`.
pub type OwnedForkRequestView = ::buffa::view::OwnedView<
    __buffa::view::ForkRequestView<'static>,
>;
///Shorthand for `OwnedView<ForkResponseView<'static>>`.
pub type OwnedForkResponseView = ::buffa::view::OwnedView<
    __buffa::view::ForkResponseView<'static>,
>;
///Shorthand for `OwnedView<VerifySnapshotRequestView<'static>>`.
pub type OwnedVerifySnapshotRequestView = ::buffa::view::OwnedView<
    __buffa::view::VerifySnapshotRequestView<'static>,
>;
///Shorthand for `OwnedView<VerifySnapshotResponseView<'static>>`.
pub type OwnedVerifySnapshotResponseView = ::buffa::view::OwnedView<
    __buffa::view::VerifySnapshotResponseView<'static>,
>;
///Shorthand for `OwnedView<ExportSnapshotRequestView<'static>>`.
pub type OwnedExportSnapshotRequestView = ::buffa::view::OwnedView<
    __buffa::view::ExportSnapshotRequestView<'static>,
>;
///Shorthand for `OwnedView<ExportSnapshotResponseView<'static>>`.
pub type OwnedExportSnapshotResponseView = ::buffa::view::OwnedView<
    __buffa::view::ExportSnapshotResponseView<'static>,
>;
///Shorthand for `OwnedView<ImportSnapshotRequestView<'static>>`.
pub type OwnedImportSnapshotRequestView = ::buffa::view::OwnedView<
    __buffa::view::ImportSnapshotRequestView<'static>,
>;
///Shorthand for `OwnedView<ImportSnapshotResponseView<'static>>`.
pub type OwnedImportSnapshotResponseView = ::buffa::view::OwnedView<
    __buffa::view::ImportSnapshotResponseView<'static>,
>;
///Shorthand for `OwnedView<ListTemplatesRequestView<'static>>`.
pub type OwnedListTemplatesRequestView = ::buffa::view::OwnedView<
    __buffa::view::ListTemplatesRequestView<'static>,
>;
///Shorthand for `OwnedView<ListTemplatesResponseView<'static>>`.
pub type OwnedListTemplatesResponseView = ::buffa::view::OwnedView<
    __buffa::view::ListTemplatesResponseView<'static>,
>;
///Shorthand for `OwnedView<DeleteTemplateRequestView<'static>>`.
pub type OwnedDeleteTemplateRequestView = ::buffa::view::OwnedView<
    __buffa::view::DeleteTemplateRequestView<'static>,
>;
///Shorthand for `OwnedView<DeleteTemplateResponseView<'static>>`.
pub type OwnedDeleteTemplateResponseView = ::buffa::view::OwnedView<
    __buffa::view::DeleteTemplateResponseView<'static>,
>;
///Shorthand for `OwnedView<ListPoolsRequestView<'static>>`.
pub type OwnedListPoolsRequestView = ::buffa::view::OwnedView<
    __buffa::view::ListPoolsRequestView<'static>,
>;
///Shorthand for `OwnedView<ListPoolsResponseView<'static>>`.
pub type OwnedListPoolsResponseView = ::buffa::view::OwnedView<
    __buffa::view::ListPoolsResponseView<'static>,
>;
///Shorthand for `OwnedView<WarmPoolRequestView<'static>>`.
pub type OwnedWarmPoolRequestView = ::buffa::view::OwnedView<
    __buffa::view::WarmPoolRequestView<'static>,
>;
///Shorthand for `OwnedView<WarmPoolResponseView<'static>>`.
pub type OwnedWarmPoolResponseView = ::buffa::view::OwnedView<
    __buffa::view::WarmPoolResponseView<'static>,
>;
///Shorthand for `OwnedView<DrainPoolRequestView<'static>>`.
pub type OwnedDrainPoolRequestView = ::buffa::view::OwnedView<
    __buffa::view::DrainPoolRequestView<'static>,
>;
///Shorthand for `OwnedView<DrainPoolResponseView<'static>>`.
pub type OwnedDrainPoolResponseView = ::buffa::view::OwnedView<
    __buffa::view::DrainPoolResponseView<'static>,
>;
///Shorthand for `OwnedView<HealthRequestView<'static>>`.
pub type OwnedHealthRequestView = ::buffa::view::OwnedView<
    __buffa::view::HealthRequestView<'static>,
>;
///Shorthand for `OwnedView<HealthResponseView<'static>>`.
pub type OwnedHealthResponseView = ::buffa::view::OwnedView<
    __buffa::view::HealthResponseView<'static>,
>;
///Shorthand for `OwnedView<HostMetricsRequestView<'static>>`.
pub type OwnedHostMetricsRequestView = ::buffa::view::OwnedView<
    __buffa::view::HostMetricsRequestView<'static>,
>;
///Shorthand for `OwnedView<HostMetricsResponseView<'static>>`.
pub type OwnedHostMetricsResponseView = ::buffa::view::OwnedView<
    __buffa::view::HostMetricsResponseView<'static>,
>;
///Shorthand for `OwnedView<SweepRequestView<'static>>`.
pub type OwnedSweepRequestView = ::buffa::view::OwnedView<
    __buffa::view::SweepRequestView<'static>,
>;
///Shorthand for `OwnedView<SweepResponseView<'static>>`.
pub type OwnedSweepResponseView = ::buffa::view::OwnedView<
    __buffa::view::SweepResponseView<'static>,
>;
///Shorthand for `OwnedView<ShutdownRequestView<'static>>`.
pub type OwnedShutdownRequestView = ::buffa::view::OwnedView<
    __buffa::view::ShutdownRequestView<'static>,
>;
///Shorthand for `OwnedView<ShutdownResponseView<'static>>`.
pub type OwnedShutdownResponseView = ::buffa::view::OwnedView<
    __buffa::view::ShutdownResponseView<'static>,
>;
impl ::connectrpc::Encodable<CreateSandboxResponse>
for __buffa::view::CreateSandboxResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<CreateSandboxResponse>
for ::buffa::view::OwnedView<__buffa::view::CreateSandboxResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<DestroySandboxResponse>
for __buffa::view::DestroySandboxResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<DestroySandboxResponse>
for ::buffa::view::OwnedView<__buffa::view::DestroySandboxResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ListSandboxesResponse>
for __buffa::view::ListSandboxesResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ListSandboxesResponse>
for ::buffa::view::OwnedView<__buffa::view::ListSandboxesResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<WatchSandboxesResponse>
for __buffa::view::WatchSandboxesResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<WatchSandboxesResponse>
for ::buffa::view::OwnedView<__buffa::view::WatchSandboxesResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<PauseSandboxResponse>
for __buffa::view::PauseSandboxResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<PauseSandboxResponse>
for ::buffa::view::OwnedView<__buffa::view::PauseSandboxResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ResumeSandboxResponse>
for __buffa::view::ResumeSandboxResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ResumeSandboxResponse>
for ::buffa::view::OwnedView<__buffa::view::ResumeSandboxResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<SetNetworkResponse>
for __buffa::view::SetNetworkResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<SetNetworkResponse>
for ::buffa::view::OwnedView<__buffa::view::SetNetworkResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<PingResponse> for __buffa::view::PingResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<PingResponse>
for ::buffa::view::OwnedView<__buffa::view::PingResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ExecResponse> for __buffa::view::ExecResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ExecResponse>
for ::buffa::view::OwnedView<__buffa::view::ExecResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ExecStreamResponse>
for __buffa::view::ExecStreamResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ExecStreamResponse>
for ::buffa::view::OwnedView<__buffa::view::ExecStreamResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ResizeTerminalResponse>
for __buffa::view::ResizeTerminalResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ResizeTerminalResponse>
for ::buffa::view::OwnedView<__buffa::view::ResizeTerminalResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<SendInputResponse>
for __buffa::view::SendInputResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<SendInputResponse>
for ::buffa::view::OwnedView<__buffa::view::SendInputResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<CloseInputResponse>
for __buffa::view::CloseInputResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<CloseInputResponse>
for ::buffa::view::OwnedView<__buffa::view::CloseInputResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<SendSignalResponse>
for __buffa::view::SendSignalResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<SendSignalResponse>
for ::buffa::view::OwnedView<__buffa::view::SendSignalResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<WriteFileResponse>
for __buffa::view::WriteFileResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<WriteFileResponse>
for ::buffa::view::OwnedView<__buffa::view::WriteFileResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ReadFileResponse>
for __buffa::view::ReadFileResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ReadFileResponse>
for ::buffa::view::OwnedView<__buffa::view::ReadFileResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<WriteFileStreamResponse>
for __buffa::view::WriteFileStreamResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<WriteFileStreamResponse>
for ::buffa::view::OwnedView<__buffa::view::WriteFileStreamResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ReadFileStreamResponse>
for __buffa::view::ReadFileStreamResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ReadFileStreamResponse>
for ::buffa::view::OwnedView<__buffa::view::ReadFileStreamResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ConsoleResponse>
for __buffa::view::ConsoleResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ConsoleResponse>
for ::buffa::view::OwnedView<__buffa::view::ConsoleResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<MetricsResponse>
for __buffa::view::MetricsResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<MetricsResponse>
for ::buffa::view::OwnedView<__buffa::view::MetricsResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<MeasureStorageResponse>
for __buffa::view::MeasureStorageResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<MeasureStorageResponse>
for ::buffa::view::OwnedView<__buffa::view::MeasureStorageResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<CreateSnapshotResponse>
for __buffa::view::CreateSnapshotResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<CreateSnapshotResponse>
for ::buffa::view::OwnedView<__buffa::view::CreateSnapshotResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<DeleteSnapshotResponse>
for __buffa::view::DeleteSnapshotResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<DeleteSnapshotResponse>
for ::buffa::view::OwnedView<__buffa::view::DeleteSnapshotResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ForkResponse> for __buffa::view::ForkResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ForkResponse>
for ::buffa::view::OwnedView<__buffa::view::ForkResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<VerifySnapshotResponse>
for __buffa::view::VerifySnapshotResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<VerifySnapshotResponse>
for ::buffa::view::OwnedView<__buffa::view::VerifySnapshotResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ExportSnapshotResponse>
for __buffa::view::ExportSnapshotResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ExportSnapshotResponse>
for ::buffa::view::OwnedView<__buffa::view::ExportSnapshotResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ImportSnapshotResponse>
for __buffa::view::ImportSnapshotResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ImportSnapshotResponse>
for ::buffa::view::OwnedView<__buffa::view::ImportSnapshotResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ListTemplatesResponse>
for __buffa::view::ListTemplatesResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ListTemplatesResponse>
for ::buffa::view::OwnedView<__buffa::view::ListTemplatesResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<DeleteTemplateResponse>
for __buffa::view::DeleteTemplateResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<DeleteTemplateResponse>
for ::buffa::view::OwnedView<__buffa::view::DeleteTemplateResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ListPoolsResponse>
for __buffa::view::ListPoolsResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ListPoolsResponse>
for ::buffa::view::OwnedView<__buffa::view::ListPoolsResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<WarmPoolResponse>
for __buffa::view::WarmPoolResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<WarmPoolResponse>
for ::buffa::view::OwnedView<__buffa::view::WarmPoolResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<DrainPoolResponse>
for __buffa::view::DrainPoolResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<DrainPoolResponse>
for ::buffa::view::OwnedView<__buffa::view::DrainPoolResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<HealthResponse> for __buffa::view::HealthResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<HealthResponse>
for ::buffa::view::OwnedView<__buffa::view::HealthResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<HostMetricsResponse>
for __buffa::view::HostMetricsResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<HostMetricsResponse>
for ::buffa::view::OwnedView<__buffa::view::HostMetricsResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<SweepResponse> for __buffa::view::SweepResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<SweepResponse>
for ::buffa::view::OwnedView<__buffa::view::SweepResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
impl ::connectrpc::Encodable<ShutdownResponse>
for __buffa::view::ShutdownResponseView<'_> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self, codec)
    }
}
impl ::connectrpc::Encodable<ShutdownResponse>
for ::buffa::view::OwnedView<__buffa::view::ShutdownResponseView<'static>> {
    fn encode(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::buffa::bytes::Bytes, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body(self.reborrow(), codec)
    }
    /// An `OwnedView` still holds the buffer it was decoded from, so
    /// its large fields can be handed to the response body by
    /// reference count instead of copied. The bare view impl above
    /// cannot do this: it has borrows but no buffer to name.
    fn encode_segments(
        &self,
        codec: ::connectrpc::CodecFormat,
    ) -> ::std::result::Result<::connectrpc::EncodedBody, ::connectrpc::ConnectError> {
        ::connectrpc::__codegen::encode_view_body_segments(
            self.reborrow(),
            self.bytes(),
            codec,
        )
    }
}
/// Full service name for this service.
pub const HOST_AGENT_SERVICE_SERVICE_NAME: &str = "hostagent.v1.HostAgentService";
/// Static [`Spec`](::connectrpc::Spec) for the `CreateSandbox` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_CREATE_SANDBOX_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/CreateSandbox",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `DestroySandbox` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_DESTROY_SANDBOX_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/DestroySandbox",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ListSandboxes` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_LIST_SANDBOXES_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ListSandboxes",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `WatchSandboxes` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_WATCH_SANDBOXES_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/WatchSandboxes",
        ::connectrpc::StreamType::ServerStream,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `PauseSandbox` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_PAUSE_SANDBOX_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/PauseSandbox",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ResumeSandbox` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_RESUME_SANDBOX_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ResumeSandbox",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `SetNetwork` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_SET_NETWORK_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/SetNetwork",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `Ping` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_PING_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/Ping",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `Exec` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_EXEC_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/Exec",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ExecStream` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_EXEC_STREAM_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ExecStream",
        ::connectrpc::StreamType::ServerStream,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ExecAttach` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_EXEC_ATTACH_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ExecAttach",
        ::connectrpc::StreamType::ServerStream,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ExecTerminal` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_EXEC_TERMINAL_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ExecTerminal",
        ::connectrpc::StreamType::ServerStream,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ResizeTerminal` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_RESIZE_TERMINAL_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ResizeTerminal",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `SendInput` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_SEND_INPUT_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/SendInput",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `CloseInput` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_CLOSE_INPUT_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/CloseInput",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `SendSignal` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_SEND_SIGNAL_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/SendSignal",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `WriteFile` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_WRITE_FILE_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/WriteFile",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ReadFile` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_READ_FILE_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ReadFile",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `WriteFileStream` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_WRITE_FILE_STREAM_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/WriteFileStream",
        ::connectrpc::StreamType::ClientStream,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ReadFileStream` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_READ_FILE_STREAM_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ReadFileStream",
        ::connectrpc::StreamType::ServerStream,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `Console` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_CONSOLE_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/Console",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `Metrics` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_METRICS_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/Metrics",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `MeasureStorage` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_MEASURE_STORAGE_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/MeasureStorage",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `CreateSnapshot` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_CREATE_SNAPSHOT_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/CreateSnapshot",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `DeleteSnapshot` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_DELETE_SNAPSHOT_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/DeleteSnapshot",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `Fork` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_FORK_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/Fork",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `VerifySnapshot` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_VERIFY_SNAPSHOT_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/VerifySnapshot",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ExportSnapshot` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_EXPORT_SNAPSHOT_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ExportSnapshot",
        ::connectrpc::StreamType::ServerStream,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ImportSnapshot` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_IMPORT_SNAPSHOT_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ImportSnapshot",
        ::connectrpc::StreamType::ClientStream,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ListTemplates` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_LIST_TEMPLATES_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ListTemplates",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `DeleteTemplate` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_DELETE_TEMPLATE_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/DeleteTemplate",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `ListPools` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_LIST_POOLS_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/ListPools",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `WarmPool` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_WARM_POOL_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/WarmPool",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `DrainPool` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_DRAIN_POOL_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/DrainPool",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `Health` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_HEALTH_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/Health",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `HostMetrics` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_HOST_METRICS_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/HostMetrics",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `Sweep` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_SWEEP_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/Sweep",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Static [`Spec`](::connectrpc::Spec) for the `Shutdown` RPC, as seen by the server; the generated client passes it with [`origin`](::connectrpc::Spec::origin) `Client` (compare across sides with [`Spec::same_method`](::connectrpc::Spec::same_method)).
pub const HOST_AGENT_SERVICE_SHUTDOWN_SPEC: ::connectrpc::Spec = ::connectrpc::Spec::server(
        "/hostagent.v1.HostAgentService/Shutdown",
        ::connectrpc::StreamType::Unary,
    )
    .with_idempotency_level(::connectrpc::IdempotencyLevel::Unknown);
/// Server trait for HostAgentService.
///
/// # Implementing handlers
///
/// Implement methods with plain `async fn`; the returned future satisfies
/// the `Send` bound automatically.
///
/// **Unary and server-streaming requests** arrive as
/// [`ServiceRequest<'_, Req>`](::connectrpc::ServiceRequest): a zero-copy
/// view of the request plus its body, valid for the duration of the call.
/// Fields are read directly (`request.name` is a `&str` into the decoded
/// buffer) and the borrow may be held across `.await` points. Anything
/// that must outlive the call — `tokio::spawn`, channels, server state,
/// or data captured by a returned response stream — takes owned data:
/// call `request.to_owned_message()` (or copy the specific fields)
/// first.
///
/// **Client-streaming and bidi requests** arrive as
/// [`InboundStream<Req>`](::connectrpc::InboundStream) — a
/// `ServiceStream` of [`StreamMessage`](::connectrpc::StreamMessage)s.
/// Each item owns its decoded buffer and is `Send + 'static`, so items
/// can be buffered or moved into spawned tasks; read fields zero-copy
/// through the generated accessor methods (`item.name()`) or `.view()`,
/// convert with `.to_owned_message()`, or yield an item back unchanged —
/// `StreamMessage<M>` implements `Encodable<M>`.
///
/// Request types resolved through `extern_path` (e.g. well-known types
/// from another crate) use the same wrappers; the crate that owns the
/// type must be generated with buffa ≥ 0.9.0 and views enabled so the
/// backing `HasMessageView` impl exists.
///
/// The `impl Encodable<Out>` return bound accepts the owned `Out`, the
/// generated `OutView<'_>` / `OwnedOutView`,
/// [`MaybeBorrowed`](::connectrpc::MaybeBorrowed), or
/// [`PreEncoded`](::connectrpc::PreEncoded) for handlers that encode a
/// non-`'static` view internally and pass the bytes across the handler
/// boundary. View bodies are not emitted for output types mapped via
/// `extern_path` (the impl would be an orphan); return owned for
/// WKT/extern outputs.
///
/// Server-streaming and bidi-streaming methods return
/// `ServiceStream<impl Encodable<Out> + Send + use<Self>>`. The
/// `use<Self>` precise-capturing clause excludes `&self`'s lifetime and
/// the request's lifetime (unary methods use `use<'a, Self>` and may
/// borrow from `&self`), so stream items must be `'static` and cannot
/// borrow from the request. To stream view-encoded data, encode each
/// item inside the stream body and yield
/// [`PreEncoded`](::connectrpc::PreEncoded) — see its `# Streaming
/// example` doc.
#[allow(clippy::type_complexity)]
pub trait HostAgentService: Send + Sync + 'static {
    /// Answers when the sandbox runs. A caller that goes away before that, without `detached`, has it unwound.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn create_sandbox<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, CreateSandboxRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<CreateSandboxResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Answers when nothing of the sandbox exists any more; also for one that never was.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn destroy_sandbox<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, DestroySandboxRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<DestroySandboxResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Everything that the agent has, or what it has of those of some ids. Unavailable until recovery has ended.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn list_sandboxes<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ListSandboxesRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ListSandboxesResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Tells at once what has changed, come or gone, by id: ListSandboxes has what became of it. The first message says `all`. An
    /// empty one comes every 15 seconds. Unavailable until recovery has ended.
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call (until the response stream is returned);
    /// message fields are read directly on it (zero-copy). Data the
    /// returned stream needs must be copied out or converted via
    /// `.to_owned_message()`.
    fn watch_sandboxes(
        &self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, WatchSandboxesRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            ::connectrpc::ServiceStream<
                impl ::connectrpc::Encodable<WatchSandboxesResponse> + Send + use<Self>,
            >,
        >,
    > + Send;
    /// Answers when the sandbox is paused and durable. One that is paused already stays as it is.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn pause_sandbox<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, PauseSandboxRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<PauseSandboxResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Answers when the sandbox runs again. One that runs already stays as it is.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn resume_sandbox<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ResumeSandboxRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ResumeSandboxResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Answers when the sandbox is under another network policy, durably. A paused one comes back under it.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn set_network<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, SetNetworkRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<SetNetworkResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Counts as activity, and wakes a paused sandbox that resumes by itself.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn ping<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, PingRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<PingResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Runs a command to its end and collects what it prints, up to a cap a stream.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn exec<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ExecRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ExecResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Runs a command and streams what it prints. A caller that goes away ends the command, unless `detach` was asked.
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call (until the response stream is returned);
    /// message fields are read directly on it (zero-copy). Data the
    /// returned stream needs must be copied out or converted via
    /// `.to_owned_message()`.
    fn exec_stream(
        &self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ExecStreamRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            ::connectrpc::ServiceStream<
                impl ::connectrpc::Encodable<ExecStreamResponse> + Send + use<Self>,
            >,
        >,
    > + Send;
    /// Follows a command that runs already, from now on. A caller that goes away leaves it running.
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call (until the response stream is returned);
    /// message fields are read directly on it (zero-copy). Data the
    /// returned stream needs must be copied out or converted via
    /// `.to_owned_message()`.
    fn exec_attach(
        &self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ExecAttachRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            ::connectrpc::ServiceStream<
                impl ::connectrpc::Encodable<ExecStreamResponse> + Send + use<Self>,
            >,
        >,
    > + Send;
    /// The same on a terminal, which is its standard input, output and error: what it shows is told as output. A call of its own,
    /// since an agent that knew of no terminals would run the command without one.
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call (until the response stream is returned);
    /// message fields are read directly on it (zero-copy). Data the
    /// returned stream needs must be copied out or converted via
    /// `.to_owned_message()`.
    fn exec_terminal(
        &self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ExecTerminalRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            ::connectrpc::ServiceStream<
                impl ::connectrpc::Encodable<ExecStreamResponse> + Send + use<Self>,
            >,
        >,
    > + Send;
    /// Gives a command's terminal another size.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn resize_terminal<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ResizeTerminalRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ResizeTerminalResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Handle the SendInput RPC.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn send_input<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, SendInputRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<SendInputResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Handle the CloseInput RPC.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn close_input<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, CloseInputRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<CloseInputResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Handle the SendSignal RPC.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn send_signal<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, SendSignalRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<SendSignalResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Handle the WriteFile RPC.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn write_file<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, WriteFileRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<WriteFileResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Handle the ReadFile RPC.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn read_file<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ReadFileRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ReadFileResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Handle the WriteFileStream RPC.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// Each `requests` item is a [`StreamMessage`](::connectrpc::StreamMessage):
    /// it owns its buffer, is `Send + 'static`, and exposes zero-copy
    /// accessor methods (`item.name()`), `.view()`, and
    /// `.to_owned_message()`.
    fn write_file_stream<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        requests: ::connectrpc::InboundStream<WriteFileStreamRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<WriteFileStreamResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Handle the ReadFileStream RPC.
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call (until the response stream is returned);
    /// message fields are read directly on it (zero-copy). Data the
    /// returned stream needs must be copied out or converted via
    /// `.to_owned_message()`.
    fn read_file_stream(
        &self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ReadFileStreamRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            ::connectrpc::ServiceStream<
                impl ::connectrpc::Encodable<ReadFileStreamResponse> + Send + use<Self>,
            >,
        >,
    > + Send;
    /// The last of the serial console, 64 KiB at the most.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn console<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ConsoleRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ConsoleResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// What a sandbox's virtual machine has used, as the host counts it. The guest is not asked.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn metrics<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, MetricsRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<MetricsResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// What all sandboxes of one owner take of the host's disk, running and paused.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn measure_storage<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, MeasureStorageRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<MeasureStorageResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Makes a template of what a running or paused sandbox is at one instant, with its memory. The sandbox goes on as it was.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn create_snapshot<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, CreateSnapshotRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<CreateSnapshotResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Removes a snapshot's name. Sandboxes made from it go on.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn delete_snapshot<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, DeleteSnapshotRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<DeleteSnapshotResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Makes sandboxes of what a running or paused one is at one instant: memory, disk and processes. It goes on as it was, and
    /// each child comes to be or fails by itself.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn fork<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ForkRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ForkResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Reads all data of a sandbox's newest generation and compares it with the sums.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn verify_snapshot<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, VerifySnapshotRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<VerifySnapshotResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// The newest generation as one packed stream (docs/formats.md).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call (until the response stream is returned);
    /// message fields are read directly on it (zero-copy). Data the
    /// returned stream needs must be copied out or converted via
    /// `.to_owned_message()`.
    fn export_snapshot(
        &self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ExportSnapshotRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            ::connectrpc::ServiceStream<
                impl ::connectrpc::Encodable<ExportSnapshotResponse> + Send + use<Self>,
            >,
        >,
    > + Send;
    /// Makes a new, paused sandbox from such a stream. One that stops without `complete` leaves nothing.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// Each `requests` item is a [`StreamMessage`](::connectrpc::StreamMessage):
    /// it owns its buffer, is `Send + 'static`, and exposes zero-copy
    /// accessor methods (`item.name()`), `.view()`, and
    /// `.to_owned_message()`.
    fn import_snapshot<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        requests: ::connectrpc::InboundStream<ImportSnapshotRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ImportSnapshotResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// The base templates and snapshots that stand on this host.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn list_templates<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ListTemplatesRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ListTemplatesResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Removes the base template's name. Sandboxes made from it go on.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn delete_template<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, DeleteTemplateRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<DeleteTemplateResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// What stands ready for creations.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn list_pools<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ListPoolsRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ListPoolsResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Has so many sandboxes of a shape stand ready, until the agent ends or the pool is drained. Answers when they do.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn warm_pool<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, WarmPoolRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<WarmPoolResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Gives back what stands ready, and has nothing more of it made until it is warmed again.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn drain_pool<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, DrainPoolRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<DrainPoolResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// What this host is and has. Answered during recovery too.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn health<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, HealthRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<HealthResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// The agent's own counters and times, as OpenMetrics text without the line that ends it.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn host_metrics<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, HostMetricsRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<HostMetricsResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Takes away what this instance has in the kernel and on disk that nobody owns any more.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn sweep<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, SweepRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<SweepResponse> + Send + use<'a, Self>,
        >,
    > + Send;
    /// Destroys every sandbox that has a virtual machine, and takes the host's network and store back. What is paused stays in
    /// the store. The agent ends afterwards.
    ///
    /// `'a` lets the response body borrow from `&self` (e.g. server-resident state).
    ///
    /// `request` is borrowed from the request body and is valid for the
    /// duration of the call; message fields are read directly on it
    /// (zero-copy). The response cannot borrow from `request` — use
    /// `.to_owned_message()` (or copy the specific fields) for anything
    /// returned, stored, or moved into `tokio::spawn`.
    fn shutdown<'a>(
        &'a self,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::ServiceRequest<'_, ShutdownRequest>,
    ) -> impl ::std::future::Future<
        Output = ::connectrpc::ServiceResult<
            impl ::connectrpc::Encodable<ShutdownResponse> + Send + use<'a, Self>,
        >,
    > + Send;
}
/// Extension trait for registering a service implementation with a Router.
///
/// This trait is automatically implemented for all types that implement the service trait.
/// Prefer [`Router::add_service`](::connectrpc::Router::add_service) for
/// top-down registration; `register` remains available for compatibility
/// and cases where the service-first call shape is more convenient.
///
/// # Example
///
/// ```rust,ignore
/// use std::sync::Arc;
///
/// let service = Arc::new(MyServiceImpl);
/// let router = service.register(Router::new());
/// ```
pub trait HostAgentServiceExt: HostAgentService {
    /// Register this service implementation with a Router.
    ///
    /// Takes ownership of the `Arc<Self>` and returns a new Router with
    /// this service's methods registered.
    fn register(
        self: ::std::sync::Arc<Self>,
        router: ::connectrpc::Router,
    ) -> ::connectrpc::Router;
}
impl<S: HostAgentService> HostAgentServiceExt for S {
    fn register(
        self: ::std::sync::Arc<Self>,
        router: ::connectrpc::Router,
    ) -> ::connectrpc::Router {
        router
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "CreateSandbox",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::CreateSandboxRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                CreateSandboxRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.create_sandbox(ctx, sreq)
                                .await?
                                .encode::<CreateSandboxResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_CREATE_SANDBOX_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "DestroySandbox",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::DestroySandboxRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                DestroySandboxRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.destroy_sandbox(ctx, sreq)
                                .await?
                                .encode::<DestroySandboxResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_DESTROY_SANDBOX_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ListSandboxes",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ListSandboxesRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ListSandboxesRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.list_sandboxes(ctx, sreq)
                                .await?
                                .encode::<ListSandboxesResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_LIST_SANDBOXES_SPEC)
            .route_view_server_stream::<
                _,
                _,
                WatchSandboxesResponse,
            >(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "WatchSandboxes",
                ::connectrpc::view_streaming_handler_fn({
                    let svc = ::std::sync::Arc::clone(&self);
                    move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::WatchSandboxesRequestView<'static>,
                        >|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                WatchSandboxesRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.watch_sandboxes(ctx, sreq).await
                        }
                    }
                }),
            )
            .with_spec(HOST_AGENT_SERVICE_WATCH_SANDBOXES_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "PauseSandbox",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::PauseSandboxRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                PauseSandboxRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.pause_sandbox(ctx, sreq)
                                .await?
                                .encode::<PauseSandboxResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_PAUSE_SANDBOX_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ResumeSandbox",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ResumeSandboxRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ResumeSandboxRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.resume_sandbox(ctx, sreq)
                                .await?
                                .encode::<ResumeSandboxResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_RESUME_SANDBOX_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "SetNetwork",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::SetNetworkRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                SetNetworkRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.set_network(ctx, sreq)
                                .await?
                                .encode::<SetNetworkResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_SET_NETWORK_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "Ping",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::PingRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                PingRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.ping(ctx, sreq).await?.encode::<PingResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_PING_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "Exec",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ExecRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ExecRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.exec(ctx, sreq).await?.encode::<ExecResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_EXEC_SPEC)
            .route_view_server_stream::<
                _,
                _,
                ExecStreamResponse,
            >(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ExecStream",
                ::connectrpc::view_streaming_handler_fn({
                    let svc = ::std::sync::Arc::clone(&self);
                    move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ExecStreamRequestView<'static>,
                        >|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ExecStreamRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.exec_stream(ctx, sreq).await
                        }
                    }
                }),
            )
            .with_spec(HOST_AGENT_SERVICE_EXEC_STREAM_SPEC)
            .route_view_server_stream::<
                _,
                _,
                ExecStreamResponse,
            >(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ExecAttach",
                ::connectrpc::view_streaming_handler_fn({
                    let svc = ::std::sync::Arc::clone(&self);
                    move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ExecAttachRequestView<'static>,
                        >|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ExecAttachRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.exec_attach(ctx, sreq).await
                        }
                    }
                }),
            )
            .with_spec(HOST_AGENT_SERVICE_EXEC_ATTACH_SPEC)
            .route_view_server_stream::<
                _,
                _,
                ExecStreamResponse,
            >(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ExecTerminal",
                ::connectrpc::view_streaming_handler_fn({
                    let svc = ::std::sync::Arc::clone(&self);
                    move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ExecTerminalRequestView<'static>,
                        >|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ExecTerminalRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.exec_terminal(ctx, sreq).await
                        }
                    }
                }),
            )
            .with_spec(HOST_AGENT_SERVICE_EXEC_TERMINAL_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ResizeTerminal",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ResizeTerminalRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ResizeTerminalRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.resize_terminal(ctx, sreq)
                                .await?
                                .encode::<ResizeTerminalResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_RESIZE_TERMINAL_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "SendInput",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::SendInputRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                SendInputRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.send_input(ctx, sreq)
                                .await?
                                .encode::<SendInputResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_SEND_INPUT_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "CloseInput",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::CloseInputRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                CloseInputRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.close_input(ctx, sreq)
                                .await?
                                .encode::<CloseInputResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_CLOSE_INPUT_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "SendSignal",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::SendSignalRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                SendSignalRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.send_signal(ctx, sreq)
                                .await?
                                .encode::<SendSignalResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_SEND_SIGNAL_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "WriteFile",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::WriteFileRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                WriteFileRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.write_file(ctx, sreq)
                                .await?
                                .encode::<WriteFileResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_WRITE_FILE_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ReadFile",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ReadFileRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ReadFileRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.read_file(ctx, sreq)
                                .await?
                                .encode::<ReadFileResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_READ_FILE_SPEC)
            .route_view_client_stream(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "WriteFileStream",
                ::connectrpc::view_client_streaming_handler_fn({
                    let svc = ::std::sync::Arc::clone(&self);
                    move |ctx, req, format| {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let req = ::connectrpc::dispatcher::codegen::into_stream_messages::<
                                WriteFileStreamRequest,
                            >(req);
                            svc.write_file_stream(ctx, req)
                                .await?
                                .encode::<WriteFileStreamResponse>(format)
                        }
                    }
                }),
            )
            .with_spec(HOST_AGENT_SERVICE_WRITE_FILE_STREAM_SPEC)
            .route_view_server_stream::<
                _,
                _,
                ReadFileStreamResponse,
            >(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ReadFileStream",
                ::connectrpc::view_streaming_handler_fn({
                    let svc = ::std::sync::Arc::clone(&self);
                    move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ReadFileStreamRequestView<'static>,
                        >|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ReadFileStreamRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.read_file_stream(ctx, sreq).await
                        }
                    }
                }),
            )
            .with_spec(HOST_AGENT_SERVICE_READ_FILE_STREAM_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "Console",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ConsoleRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ConsoleRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.console(ctx, sreq)
                                .await?
                                .encode::<ConsoleResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_CONSOLE_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "Metrics",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::MetricsRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                MetricsRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.metrics(ctx, sreq)
                                .await?
                                .encode::<MetricsResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_METRICS_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "MeasureStorage",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::MeasureStorageRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                MeasureStorageRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.measure_storage(ctx, sreq)
                                .await?
                                .encode::<MeasureStorageResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_MEASURE_STORAGE_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "CreateSnapshot",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::CreateSnapshotRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                CreateSnapshotRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.create_snapshot(ctx, sreq)
                                .await?
                                .encode::<CreateSnapshotResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_CREATE_SNAPSHOT_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "DeleteSnapshot",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::DeleteSnapshotRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                DeleteSnapshotRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.delete_snapshot(ctx, sreq)
                                .await?
                                .encode::<DeleteSnapshotResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_DELETE_SNAPSHOT_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "Fork",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ForkRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ForkRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.fork(ctx, sreq).await?.encode::<ForkResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_FORK_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "VerifySnapshot",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::VerifySnapshotRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                VerifySnapshotRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.verify_snapshot(ctx, sreq)
                                .await?
                                .encode::<VerifySnapshotResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_VERIFY_SNAPSHOT_SPEC)
            .route_view_server_stream::<
                _,
                _,
                ExportSnapshotResponse,
            >(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ExportSnapshot",
                ::connectrpc::view_streaming_handler_fn({
                    let svc = ::std::sync::Arc::clone(&self);
                    move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ExportSnapshotRequestView<'static>,
                        >|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ExportSnapshotRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.export_snapshot(ctx, sreq).await
                        }
                    }
                }),
            )
            .with_spec(HOST_AGENT_SERVICE_EXPORT_SNAPSHOT_SPEC)
            .route_view_client_stream(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ImportSnapshot",
                ::connectrpc::view_client_streaming_handler_fn({
                    let svc = ::std::sync::Arc::clone(&self);
                    move |ctx, req, format| {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let req = ::connectrpc::dispatcher::codegen::into_stream_messages::<
                                ImportSnapshotRequest,
                            >(req);
                            svc.import_snapshot(ctx, req)
                                .await?
                                .encode::<ImportSnapshotResponse>(format)
                        }
                    }
                }),
            )
            .with_spec(HOST_AGENT_SERVICE_IMPORT_SNAPSHOT_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ListTemplates",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ListTemplatesRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ListTemplatesRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.list_templates(ctx, sreq)
                                .await?
                                .encode::<ListTemplatesResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_LIST_TEMPLATES_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "DeleteTemplate",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::DeleteTemplateRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                DeleteTemplateRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.delete_template(ctx, sreq)
                                .await?
                                .encode::<DeleteTemplateResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_DELETE_TEMPLATE_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "ListPools",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ListPoolsRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ListPoolsRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.list_pools(ctx, sreq)
                                .await?
                                .encode::<ListPoolsResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_LIST_POOLS_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "WarmPool",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::WarmPoolRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                WarmPoolRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.warm_pool(ctx, sreq)
                                .await?
                                .encode::<WarmPoolResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_WARM_POOL_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "DrainPool",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::DrainPoolRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                DrainPoolRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.drain_pool(ctx, sreq)
                                .await?
                                .encode::<DrainPoolResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_DRAIN_POOL_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "Health",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::HealthRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                HealthRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.health(ctx, sreq).await?.encode::<HealthResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_HEALTH_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "HostMetrics",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::HostMetricsRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                HostMetricsRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.host_metrics(ctx, sreq)
                                .await?
                                .encode::<HostMetricsResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_HOST_METRICS_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "Sweep",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::SweepRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                SweepRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.sweep(ctx, sreq).await?.encode::<SweepResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_SWEEP_SPEC)
            .route_view(
                HOST_AGENT_SERVICE_SERVICE_NAME,
                "Shutdown",
                {
                    let svc = ::std::sync::Arc::clone(&self);
                    ::connectrpc::view_handler_fn(move |
                        ctx,
                        req: ::buffa::view::OwnedView<
                            __buffa::view::ShutdownRequestView<'static>,
                        >,
                        format|
                    {
                        let svc = ::std::sync::Arc::clone(&svc);
                        async move {
                            let sreq = ::connectrpc::ServiceRequest::<
                                ShutdownRequest,
                            >::from_parts(req.reborrow(), req.bytes());
                            svc.shutdown(ctx, sreq)
                                .await?
                                .encode::<ShutdownResponse>(format)
                        }
                    })
                },
            )
            .with_spec(HOST_AGENT_SERVICE_SHUTDOWN_SPEC)
    }
}
/// Type-inference marker used by [`Router::add_service`](::connectrpc::Router::add_service).
#[doc(hidden)]
pub struct HostAgentServiceRegisterMarker;
impl<S: HostAgentService> ::connectrpc::ServiceRegister<HostAgentServiceRegisterMarker>
for ::std::sync::Arc<S> {
    fn register_service(self, router: ::connectrpc::Router) -> ::connectrpc::Router {
        <S as HostAgentServiceExt>::register(self, router)
    }
}
/// Monomorphic dispatcher for `HostAgentService`.
///
/// Unlike `.register(Router)` which type-erases each method into an `Arc<dyn ErasedHandler>` stored in a `HashMap`, this struct dispatches via a compile-time `match` on method name: no vtable, no hash lookup.
///
/// # Example
///
/// ```rust,ignore
/// use connectrpc::ConnectRpcService;
///
/// let server = HostAgentServiceServer::new(MyImpl);
/// let service = ConnectRpcService::new(server);
/// // hand `service` to axum/hyper as a fallback_service
/// ```
pub struct HostAgentServiceServer<T> {
    inner: ::std::sync::Arc<T>,
}
impl<T: HostAgentService> HostAgentServiceServer<T> {
    /// Wrap a service implementation in a monomorphic dispatcher.
    pub fn new(service: T) -> Self {
        Self {
            inner: ::std::sync::Arc::new(service),
        }
    }
    /// Wrap an already-`Arc`'d service implementation.
    pub fn from_arc(inner: ::std::sync::Arc<T>) -> Self {
        Self { inner }
    }
}
impl<T> Clone for HostAgentServiceServer<T> {
    fn clone(&self) -> Self {
        Self {
            inner: ::std::sync::Arc::clone(&self.inner),
        }
    }
}
impl<T: HostAgentService> ::connectrpc::Dispatcher for HostAgentServiceServer<T> {
    #[inline]
    fn lookup(
        &self,
        path: &str,
    ) -> Option<::connectrpc::dispatcher::codegen::MethodDescriptor> {
        let method = path.strip_prefix("hostagent.v1.HostAgentService/")?;
        match method {
            "CreateSandbox" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_CREATE_SANDBOX_SPEC),
                )
            }
            "DestroySandbox" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_DESTROY_SANDBOX_SPEC),
                )
            }
            "ListSandboxes" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_LIST_SANDBOXES_SPEC),
                )
            }
            "WatchSandboxes" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::server_streaming()
                        .with_spec(HOST_AGENT_SERVICE_WATCH_SANDBOXES_SPEC),
                )
            }
            "PauseSandbox" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_PAUSE_SANDBOX_SPEC),
                )
            }
            "ResumeSandbox" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_RESUME_SANDBOX_SPEC),
                )
            }
            "SetNetwork" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_SET_NETWORK_SPEC),
                )
            }
            "Ping" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_PING_SPEC),
                )
            }
            "Exec" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_EXEC_SPEC),
                )
            }
            "ExecStream" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::server_streaming()
                        .with_spec(HOST_AGENT_SERVICE_EXEC_STREAM_SPEC),
                )
            }
            "ExecAttach" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::server_streaming()
                        .with_spec(HOST_AGENT_SERVICE_EXEC_ATTACH_SPEC),
                )
            }
            "ExecTerminal" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::server_streaming()
                        .with_spec(HOST_AGENT_SERVICE_EXEC_TERMINAL_SPEC),
                )
            }
            "ResizeTerminal" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_RESIZE_TERMINAL_SPEC),
                )
            }
            "SendInput" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_SEND_INPUT_SPEC),
                )
            }
            "CloseInput" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_CLOSE_INPUT_SPEC),
                )
            }
            "SendSignal" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_SEND_SIGNAL_SPEC),
                )
            }
            "WriteFile" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_WRITE_FILE_SPEC),
                )
            }
            "ReadFile" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_READ_FILE_SPEC),
                )
            }
            "WriteFileStream" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::client_streaming()
                        .with_spec(HOST_AGENT_SERVICE_WRITE_FILE_STREAM_SPEC),
                )
            }
            "ReadFileStream" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::server_streaming()
                        .with_spec(HOST_AGENT_SERVICE_READ_FILE_STREAM_SPEC),
                )
            }
            "Console" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_CONSOLE_SPEC),
                )
            }
            "Metrics" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_METRICS_SPEC),
                )
            }
            "MeasureStorage" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_MEASURE_STORAGE_SPEC),
                )
            }
            "CreateSnapshot" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_CREATE_SNAPSHOT_SPEC),
                )
            }
            "DeleteSnapshot" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_DELETE_SNAPSHOT_SPEC),
                )
            }
            "Fork" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_FORK_SPEC),
                )
            }
            "VerifySnapshot" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_VERIFY_SNAPSHOT_SPEC),
                )
            }
            "ExportSnapshot" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::server_streaming()
                        .with_spec(HOST_AGENT_SERVICE_EXPORT_SNAPSHOT_SPEC),
                )
            }
            "ImportSnapshot" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::client_streaming()
                        .with_spec(HOST_AGENT_SERVICE_IMPORT_SNAPSHOT_SPEC),
                )
            }
            "ListTemplates" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_LIST_TEMPLATES_SPEC),
                )
            }
            "DeleteTemplate" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_DELETE_TEMPLATE_SPEC),
                )
            }
            "ListPools" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_LIST_POOLS_SPEC),
                )
            }
            "WarmPool" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_WARM_POOL_SPEC),
                )
            }
            "DrainPool" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_DRAIN_POOL_SPEC),
                )
            }
            "Health" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_HEALTH_SPEC),
                )
            }
            "HostMetrics" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_HOST_METRICS_SPEC),
                )
            }
            "Sweep" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_SWEEP_SPEC),
                )
            }
            "Shutdown" => {
                Some(
                    ::connectrpc::dispatcher::codegen::MethodDescriptor::unary(false)
                        .with_spec(HOST_AGENT_SERVICE_SHUTDOWN_SPEC),
                )
            }
            _ => None,
        }
    }
    fn call_unary(
        &self,
        path: &str,
        ctx: ::connectrpc::RequestContext,
        request: ::connectrpc::Payload,
        format: ::connectrpc::CodecFormat,
    ) -> ::connectrpc::dispatcher::codegen::UnaryResult {
        let Some(method) = path.strip_prefix("hostagent.v1.HostAgentService/") else {
            return ::connectrpc::dispatcher::codegen::unimplemented_unary(path);
        };
        let _ = (&ctx, &request, &format);
        match method {
            "CreateSandbox" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        CreateSandboxRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::CreateSandboxRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        CreateSandboxRequest,
                    >::from_parts(&req, &body);
                    svc.create_sandbox(ctx, req)
                        .await?
                        .encode::<CreateSandboxResponse>(format)
                })
            }
            "DestroySandbox" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        DestroySandboxRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::DestroySandboxRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        DestroySandboxRequest,
                    >::from_parts(&req, &body);
                    svc.destroy_sandbox(ctx, req)
                        .await?
                        .encode::<DestroySandboxResponse>(format)
                })
            }
            "ListSandboxes" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ListSandboxesRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::ListSandboxesRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ListSandboxesRequest,
                    >::from_parts(&req, &body);
                    svc.list_sandboxes(ctx, req)
                        .await?
                        .encode::<ListSandboxesResponse>(format)
                })
            }
            "PauseSandbox" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        PauseSandboxRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::PauseSandboxRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        PauseSandboxRequest,
                    >::from_parts(&req, &body);
                    svc.pause_sandbox(ctx, req)
                        .await?
                        .encode::<PauseSandboxResponse>(format)
                })
            }
            "ResumeSandbox" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ResumeSandboxRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::ResumeSandboxRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ResumeSandboxRequest,
                    >::from_parts(&req, &body);
                    svc.resume_sandbox(ctx, req)
                        .await?
                        .encode::<ResumeSandboxResponse>(format)
                })
            }
            "SetNetwork" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        SetNetworkRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::SetNetworkRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        SetNetworkRequest,
                    >::from_parts(&req, &body);
                    svc.set_network(ctx, req).await?.encode::<SetNetworkResponse>(format)
                })
            }
            "Ping" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        PingRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::PingRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        PingRequest,
                    >::from_parts(&req, &body);
                    svc.ping(ctx, req).await?.encode::<PingResponse>(format)
                })
            }
            "Exec" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ExecRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::ExecRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ExecRequest,
                    >::from_parts(&req, &body);
                    svc.exec(ctx, req).await?.encode::<ExecResponse>(format)
                })
            }
            "ResizeTerminal" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ResizeTerminalRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::ResizeTerminalRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ResizeTerminalRequest,
                    >::from_parts(&req, &body);
                    svc.resize_terminal(ctx, req)
                        .await?
                        .encode::<ResizeTerminalResponse>(format)
                })
            }
            "SendInput" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        SendInputRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::SendInputRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        SendInputRequest,
                    >::from_parts(&req, &body);
                    svc.send_input(ctx, req).await?.encode::<SendInputResponse>(format)
                })
            }
            "CloseInput" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        CloseInputRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::CloseInputRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        CloseInputRequest,
                    >::from_parts(&req, &body);
                    svc.close_input(ctx, req).await?.encode::<CloseInputResponse>(format)
                })
            }
            "SendSignal" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        SendSignalRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::SendSignalRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        SendSignalRequest,
                    >::from_parts(&req, &body);
                    svc.send_signal(ctx, req).await?.encode::<SendSignalResponse>(format)
                })
            }
            "WriteFile" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        WriteFileRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::WriteFileRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        WriteFileRequest,
                    >::from_parts(&req, &body);
                    svc.write_file(ctx, req).await?.encode::<WriteFileResponse>(format)
                })
            }
            "ReadFile" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ReadFileRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::ReadFileRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ReadFileRequest,
                    >::from_parts(&req, &body);
                    svc.read_file(ctx, req).await?.encode::<ReadFileResponse>(format)
                })
            }
            "Console" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ConsoleRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::ConsoleRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ConsoleRequest,
                    >::from_parts(&req, &body);
                    svc.console(ctx, req).await?.encode::<ConsoleResponse>(format)
                })
            }
            "Metrics" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        MetricsRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::MetricsRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        MetricsRequest,
                    >::from_parts(&req, &body);
                    svc.metrics(ctx, req).await?.encode::<MetricsResponse>(format)
                })
            }
            "MeasureStorage" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        MeasureStorageRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::MeasureStorageRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        MeasureStorageRequest,
                    >::from_parts(&req, &body);
                    svc.measure_storage(ctx, req)
                        .await?
                        .encode::<MeasureStorageResponse>(format)
                })
            }
            "CreateSnapshot" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        CreateSnapshotRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::CreateSnapshotRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        CreateSnapshotRequest,
                    >::from_parts(&req, &body);
                    svc.create_snapshot(ctx, req)
                        .await?
                        .encode::<CreateSnapshotResponse>(format)
                })
            }
            "DeleteSnapshot" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        DeleteSnapshotRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::DeleteSnapshotRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        DeleteSnapshotRequest,
                    >::from_parts(&req, &body);
                    svc.delete_snapshot(ctx, req)
                        .await?
                        .encode::<DeleteSnapshotResponse>(format)
                })
            }
            "Fork" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ForkRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::ForkRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ForkRequest,
                    >::from_parts(&req, &body);
                    svc.fork(ctx, req).await?.encode::<ForkResponse>(format)
                })
            }
            "VerifySnapshot" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        VerifySnapshotRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::VerifySnapshotRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        VerifySnapshotRequest,
                    >::from_parts(&req, &body);
                    svc.verify_snapshot(ctx, req)
                        .await?
                        .encode::<VerifySnapshotResponse>(format)
                })
            }
            "ListTemplates" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ListTemplatesRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::ListTemplatesRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ListTemplatesRequest,
                    >::from_parts(&req, &body);
                    svc.list_templates(ctx, req)
                        .await?
                        .encode::<ListTemplatesResponse>(format)
                })
            }
            "DeleteTemplate" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        DeleteTemplateRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::DeleteTemplateRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        DeleteTemplateRequest,
                    >::from_parts(&req, &body);
                    svc.delete_template(ctx, req)
                        .await?
                        .encode::<DeleteTemplateResponse>(format)
                })
            }
            "ListPools" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ListPoolsRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::ListPoolsRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ListPoolsRequest,
                    >::from_parts(&req, &body);
                    svc.list_pools(ctx, req).await?.encode::<ListPoolsResponse>(format)
                })
            }
            "WarmPool" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        WarmPoolRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::WarmPoolRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        WarmPoolRequest,
                    >::from_parts(&req, &body);
                    svc.warm_pool(ctx, req).await?.encode::<WarmPoolResponse>(format)
                })
            }
            "DrainPool" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        DrainPoolRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::DrainPoolRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        DrainPoolRequest,
                    >::from_parts(&req, &body);
                    svc.drain_pool(ctx, req).await?.encode::<DrainPoolResponse>(format)
                })
            }
            "Health" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        HealthRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::HealthRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        HealthRequest,
                    >::from_parts(&req, &body);
                    svc.health(ctx, req).await?.encode::<HealthResponse>(format)
                })
            }
            "HostMetrics" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        HostMetricsRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::HostMetricsRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        HostMetricsRequest,
                    >::from_parts(&req, &body);
                    svc.host_metrics(ctx, req)
                        .await?
                        .encode::<HostMetricsResponse>(format)
                })
            }
            "Sweep" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        SweepRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::SweepRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        SweepRequest,
                    >::from_parts(&req, &body);
                    svc.sweep(ctx, req).await?.encode::<SweepResponse>(format)
                })
            }
            "Shutdown" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ShutdownRequest,
                    >(request.encoded()?, format)?;
                    let req: __buffa::view::ShutdownRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ShutdownRequest,
                    >::from_parts(&req, &body);
                    svc.shutdown(ctx, req).await?.encode::<ShutdownResponse>(format)
                })
            }
            _ => ::connectrpc::dispatcher::codegen::unimplemented_unary(path),
        }
    }
    fn call_server_streaming(
        &self,
        path: &str,
        ctx: ::connectrpc::RequestContext,
        request: ::buffa::bytes::Bytes,
        format: ::connectrpc::CodecFormat,
    ) -> ::connectrpc::dispatcher::codegen::StreamingResult {
        let Some(method) = path.strip_prefix("hostagent.v1.HostAgentService/") else {
            return ::connectrpc::dispatcher::codegen::unimplemented_streaming(path);
        };
        let _ = (&ctx, &request, &format);
        match method {
            "WatchSandboxes" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        WatchSandboxesRequest,
                    >(request, format)?;
                    let req: __buffa::view::WatchSandboxesRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        WatchSandboxesRequest,
                    >::from_parts(&req, &body);
                    let resp = svc.watch_sandboxes(ctx, req).await?;
                    Ok(
                        resp
                            .map_body(|s| ::connectrpc::dispatcher::codegen::encode_response_stream::<
                                WatchSandboxesResponse,
                                _,
                                _,
                            >(s, format)),
                    )
                })
            }
            "ExecStream" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ExecStreamRequest,
                    >(request, format)?;
                    let req: __buffa::view::ExecStreamRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ExecStreamRequest,
                    >::from_parts(&req, &body);
                    let resp = svc.exec_stream(ctx, req).await?;
                    Ok(
                        resp
                            .map_body(|s| ::connectrpc::dispatcher::codegen::encode_response_stream::<
                                ExecStreamResponse,
                                _,
                                _,
                            >(s, format)),
                    )
                })
            }
            "ExecAttach" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ExecAttachRequest,
                    >(request, format)?;
                    let req: __buffa::view::ExecAttachRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ExecAttachRequest,
                    >::from_parts(&req, &body);
                    let resp = svc.exec_attach(ctx, req).await?;
                    Ok(
                        resp
                            .map_body(|s| ::connectrpc::dispatcher::codegen::encode_response_stream::<
                                ExecStreamResponse,
                                _,
                                _,
                            >(s, format)),
                    )
                })
            }
            "ExecTerminal" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ExecTerminalRequest,
                    >(request, format)?;
                    let req: __buffa::view::ExecTerminalRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ExecTerminalRequest,
                    >::from_parts(&req, &body);
                    let resp = svc.exec_terminal(ctx, req).await?;
                    Ok(
                        resp
                            .map_body(|s| ::connectrpc::dispatcher::codegen::encode_response_stream::<
                                ExecStreamResponse,
                                _,
                                _,
                            >(s, format)),
                    )
                })
            }
            "ReadFileStream" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ReadFileStreamRequest,
                    >(request, format)?;
                    let req: __buffa::view::ReadFileStreamRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ReadFileStreamRequest,
                    >::from_parts(&req, &body);
                    let resp = svc.read_file_stream(ctx, req).await?;
                    Ok(
                        resp
                            .map_body(|s| ::connectrpc::dispatcher::codegen::encode_response_stream::<
                                ReadFileStreamResponse,
                                _,
                                _,
                            >(s, format)),
                    )
                })
            }
            "ExportSnapshot" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let body = ::connectrpc::dispatcher::codegen::request_proto_bytes::<
                        ExportSnapshotRequest,
                    >(request, format)?;
                    let req: __buffa::view::ExportSnapshotRequestView<'_> = ::connectrpc::dispatcher::codegen::decode_borrowed_request_view(
                        &body,
                        ctx.decode_options(),
                    )?;
                    let req = ::connectrpc::ServiceRequest::<
                        ExportSnapshotRequest,
                    >::from_parts(&req, &body);
                    let resp = svc.export_snapshot(ctx, req).await?;
                    Ok(
                        resp
                            .map_body(|s| ::connectrpc::dispatcher::codegen::encode_response_stream::<
                                ExportSnapshotResponse,
                                _,
                                _,
                            >(s, format)),
                    )
                })
            }
            _ => ::connectrpc::dispatcher::codegen::unimplemented_streaming(path),
        }
    }
    fn call_client_streaming(
        &self,
        path: &str,
        ctx: ::connectrpc::RequestContext,
        requests: ::connectrpc::dispatcher::codegen::RequestStream,
        format: ::connectrpc::CodecFormat,
    ) -> ::connectrpc::dispatcher::codegen::UnaryResult {
        let Some(method) = path.strip_prefix("hostagent.v1.HostAgentService/") else {
            return ::connectrpc::dispatcher::codegen::unimplemented_unary(path);
        };
        let _ = (&ctx, &requests, &format);
        match method {
            "WriteFileStream" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let req_stream = ::connectrpc::dispatcher::codegen::decode_message_request_stream::<
                        WriteFileStreamRequest,
                    >(requests, format, ctx.decode_options().clone());
                    svc.write_file_stream(ctx, req_stream)
                        .await?
                        .encode::<WriteFileStreamResponse>(format)
                })
            }
            "ImportSnapshot" => {
                let svc = ::std::sync::Arc::clone(&self.inner);
                Box::pin(async move {
                    let req_stream = ::connectrpc::dispatcher::codegen::decode_message_request_stream::<
                        ImportSnapshotRequest,
                    >(requests, format, ctx.decode_options().clone());
                    svc.import_snapshot(ctx, req_stream)
                        .await?
                        .encode::<ImportSnapshotResponse>(format)
                })
            }
            _ => ::connectrpc::dispatcher::codegen::unimplemented_unary(path),
        }
    }
    fn call_bidi_streaming(
        &self,
        path: &str,
        ctx: ::connectrpc::RequestContext,
        requests: ::connectrpc::dispatcher::codegen::RequestStream,
        format: ::connectrpc::CodecFormat,
    ) -> ::connectrpc::dispatcher::codegen::StreamingResult {
        let Some(method) = path.strip_prefix("hostagent.v1.HostAgentService/") else {
            return ::connectrpc::dispatcher::codegen::unimplemented_streaming(path);
        };
        let _ = (&ctx, &requests, &format);
        match method {
            _ => ::connectrpc::dispatcher::codegen::unimplemented_streaming(path),
        }
    }
}
/// Client for this service.
///
/// Generic over `T: ClientTransport`. For **gRPC** (HTTP/2), use
/// `Http2Connection` — it has honest `poll_ready` and composes with
/// `tower::balance` for multi-connection load balancing. For **Connect
/// over HTTP/1.1** (or unknown protocol), use `HttpClient`.
///
/// # Example (gRPC / HTTP/2)
///
/// ```rust,ignore
/// use connectrpc::client::{Http2Connection, ClientConfig};
/// use connectrpc::Protocol;
///
/// let uri: http::Uri = "http://localhost:8080".parse()?;
/// let conn = Http2Connection::connect_plaintext(uri.clone()).await?.shared(1024);
/// let config = ClientConfig::new(uri).with_protocol(Protocol::Grpc);
///
/// let client = HostAgentServiceClient::new(conn, config);
/// let response = client.create_sandbox(request).await?;
/// ```
///
/// # Example (Connect / HTTP/1.1 or ALPN)
///
/// ```rust,ignore
/// use connectrpc::client::{HttpClient, ClientConfig};
///
/// let http = HttpClient::plaintext();  // cleartext http:// only
/// let config = ClientConfig::new("http://localhost:8080".parse()?);
///
/// let client = HostAgentServiceClient::new(http, config);
/// let response = client.create_sandbox(request).await?;
/// ```
///
/// # Working with the response
///
/// Unary calls return [`UnaryResponse<OwnedView<FooView>>`](::connectrpc::client::UnaryResponse).
/// [`view()`](::connectrpc::client::UnaryResponse::view) borrows the response
/// message, so field access is zero-copy:
///
/// ```rust,ignore
/// let resp = client.create_sandbox(request).await?;
/// let name: &str = resp.view().name;  // borrow into the response buffer
/// ```
///
/// If you need the owned struct (e.g. to store or pass by value), use
/// [`into_owned()`](::connectrpc::client::UnaryResponse::into_owned):
///
/// ```rust,ignore
/// let owned = client.create_sandbox(request).await?.into_owned();
/// ```
///
/// [`into_view()`](::connectrpc::client::UnaryResponse::into_view) keeps the
/// zero-copy decoded body (an `OwnedView`) without copying; field access on it
/// goes through `.reborrow()`. Streaming responses yield one
/// [`StreamMessage`](::connectrpc::StreamMessage) per received message from
/// `.message().await` — read fields zero-copy through the generated accessor
/// methods (`msg.name()`) or `.view()`, or convert with `.to_owned_message()`.
#[derive(Clone)]
pub struct HostAgentServiceClient<T> {
    transport: T,
    config: ::connectrpc::client::ClientConfig,
}
impl<T> HostAgentServiceClient<T>
where
    T: ::connectrpc::client::ClientTransport,
    <T::ResponseBody as ::connectrpc::http_body::Body>::Error: ::std::fmt::Display,
{
    /// Create a new client with the given transport and configuration.
    pub fn new(transport: T, config: ::connectrpc::client::ClientConfig) -> Self {
        Self { transport, config }
    }
    /// Get the client configuration.
    pub fn config(&self) -> &::connectrpc::client::ClientConfig {
        &self.config
    }
    /// Get a mutable reference to the client configuration.
    pub fn config_mut(&mut self) -> &mut ::connectrpc::client::ClientConfig {
        &mut self.config
    }
    /// Call the CreateSandbox RPC. Sends a request to /hostagent.v1.HostAgentService/CreateSandbox.
    pub async fn create_sandbox(
        &self,
        request: CreateSandboxRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::CreateSandboxResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.create_sandbox_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the CreateSandbox RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn create_sandbox_with_options(
        &self,
        request: CreateSandboxRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::CreateSandboxResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_CREATE_SANDBOX_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the DestroySandbox RPC. Sends a request to /hostagent.v1.HostAgentService/DestroySandbox.
    pub async fn destroy_sandbox(
        &self,
        request: DestroySandboxRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::DestroySandboxResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.destroy_sandbox_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the DestroySandbox RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn destroy_sandbox_with_options(
        &self,
        request: DestroySandboxRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::DestroySandboxResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_DESTROY_SANDBOX_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the ListSandboxes RPC. Sends a request to /hostagent.v1.HostAgentService/ListSandboxes.
    pub async fn list_sandboxes(
        &self,
        request: ListSandboxesRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ListSandboxesResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.list_sandboxes_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ListSandboxes RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn list_sandboxes_with_options(
        &self,
        request: ListSandboxesRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ListSandboxesResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_LIST_SANDBOXES_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the WatchSandboxes RPC. Sends a request to /hostagent.v1.HostAgentService/WatchSandboxes.
    pub async fn watch_sandboxes(
        &self,
        request: WatchSandboxesRequest,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::WatchSandboxesResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.watch_sandboxes_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the WatchSandboxes RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn watch_sandboxes_with_options(
        &self,
        request: WatchSandboxesRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::WatchSandboxesResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_server_stream(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_WATCH_SANDBOXES_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the PauseSandbox RPC. Sends a request to /hostagent.v1.HostAgentService/PauseSandbox.
    pub async fn pause_sandbox(
        &self,
        request: PauseSandboxRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::PauseSandboxResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.pause_sandbox_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the PauseSandbox RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn pause_sandbox_with_options(
        &self,
        request: PauseSandboxRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::PauseSandboxResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_PAUSE_SANDBOX_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the ResumeSandbox RPC. Sends a request to /hostagent.v1.HostAgentService/ResumeSandbox.
    pub async fn resume_sandbox(
        &self,
        request: ResumeSandboxRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ResumeSandboxResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.resume_sandbox_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ResumeSandbox RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn resume_sandbox_with_options(
        &self,
        request: ResumeSandboxRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ResumeSandboxResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_RESUME_SANDBOX_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the SetNetwork RPC. Sends a request to /hostagent.v1.HostAgentService/SetNetwork.
    pub async fn set_network(
        &self,
        request: SetNetworkRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::SetNetworkResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.set_network_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the SetNetwork RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn set_network_with_options(
        &self,
        request: SetNetworkRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::SetNetworkResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_SET_NETWORK_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the Ping RPC. Sends a request to /hostagent.v1.HostAgentService/Ping.
    pub async fn ping(
        &self,
        request: PingRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::PingResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.ping_with_options(request, ::connectrpc::client::CallOptions::default())
            .await
    }
    /// Call the Ping RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn ping_with_options(
        &self,
        request: PingRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::PingResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_PING_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the Exec RPC. Sends a request to /hostagent.v1.HostAgentService/Exec.
    pub async fn exec(
        &self,
        request: ExecRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ExecResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.exec_with_options(request, ::connectrpc::client::CallOptions::default())
            .await
    }
    /// Call the Exec RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn exec_with_options(
        &self,
        request: ExecRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ExecResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_EXEC_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the ExecStream RPC. Sends a request to /hostagent.v1.HostAgentService/ExecStream.
    pub async fn exec_stream(
        &self,
        request: ExecStreamRequest,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::ExecStreamResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.exec_stream_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ExecStream RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn exec_stream_with_options(
        &self,
        request: ExecStreamRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::ExecStreamResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_server_stream(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_EXEC_STREAM_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the ExecAttach RPC. Sends a request to /hostagent.v1.HostAgentService/ExecAttach.
    pub async fn exec_attach(
        &self,
        request: ExecAttachRequest,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::ExecStreamResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.exec_attach_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ExecAttach RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn exec_attach_with_options(
        &self,
        request: ExecAttachRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::ExecStreamResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_server_stream(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_EXEC_ATTACH_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the ExecTerminal RPC. Sends a request to /hostagent.v1.HostAgentService/ExecTerminal.
    pub async fn exec_terminal(
        &self,
        request: ExecTerminalRequest,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::ExecStreamResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.exec_terminal_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ExecTerminal RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn exec_terminal_with_options(
        &self,
        request: ExecTerminalRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::ExecStreamResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_server_stream(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_EXEC_TERMINAL_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the ResizeTerminal RPC. Sends a request to /hostagent.v1.HostAgentService/ResizeTerminal.
    pub async fn resize_terminal(
        &self,
        request: ResizeTerminalRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ResizeTerminalResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.resize_terminal_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ResizeTerminal RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn resize_terminal_with_options(
        &self,
        request: ResizeTerminalRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ResizeTerminalResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_RESIZE_TERMINAL_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the SendInput RPC. Sends a request to /hostagent.v1.HostAgentService/SendInput.
    pub async fn send_input(
        &self,
        request: SendInputRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::SendInputResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.send_input_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the SendInput RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn send_input_with_options(
        &self,
        request: SendInputRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::SendInputResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_SEND_INPUT_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the CloseInput RPC. Sends a request to /hostagent.v1.HostAgentService/CloseInput.
    pub async fn close_input(
        &self,
        request: CloseInputRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::CloseInputResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.close_input_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the CloseInput RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn close_input_with_options(
        &self,
        request: CloseInputRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::CloseInputResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_CLOSE_INPUT_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the SendSignal RPC. Sends a request to /hostagent.v1.HostAgentService/SendSignal.
    pub async fn send_signal(
        &self,
        request: SendSignalRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::SendSignalResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.send_signal_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the SendSignal RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn send_signal_with_options(
        &self,
        request: SendSignalRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::SendSignalResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_SEND_SIGNAL_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the WriteFile RPC. Sends a request to /hostagent.v1.HostAgentService/WriteFile.
    pub async fn write_file(
        &self,
        request: WriteFileRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::WriteFileResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.write_file_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the WriteFile RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn write_file_with_options(
        &self,
        request: WriteFileRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::WriteFileResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_WRITE_FILE_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the ReadFile RPC. Sends a request to /hostagent.v1.HostAgentService/ReadFile.
    pub async fn read_file(
        &self,
        request: ReadFileRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ReadFileResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.read_file_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ReadFile RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn read_file_with_options(
        &self,
        request: ReadFileRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ReadFileResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_READ_FILE_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the WriteFileStream RPC. Sends a request to /hostagent.v1.HostAgentService/WriteFileStream.
    ///
    /// `requests` is any `Stream<Item = ...> + Send + 'static` of
    /// request messages (the `ClientRequestStream` bound); messages
    /// are sent as the stream yields them. It backs the request
    /// body, so yield owned messages or feed the call from a
    /// channel-backed stream. For a collection that is already in
    /// hand, wrap it with `::connectrpc::stream_iter(...)`.
    ///
    /// Dropping the returned future cancels the call: the request
    /// body is dropped along with it, so messages the stream had
    /// not yet yielded are never delivered. A caller that needs the
    /// request delivered must drive the call to completion rather
    /// than, say, wrapping it in a `timeout`.
    pub async fn write_file_stream(
        &self,
        requests: impl ::connectrpc::client::ClientRequestStream<WriteFileStreamRequest>,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::WriteFileStreamResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.write_file_stream_with_options(
                requests,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the WriteFileStream RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    ///
    /// `requests` is any `Stream<Item = ...> + Send + 'static` of
    /// request messages (the `ClientRequestStream` bound); messages
    /// are sent as the stream yields them. It backs the request
    /// body, so yield owned messages or feed the call from a
    /// channel-backed stream. For a collection that is already in
    /// hand, wrap it with `::connectrpc::stream_iter(...)`.
    ///
    /// Dropping the returned future cancels the call: the request
    /// body is dropped along with it, so messages the stream had
    /// not yet yielded are never delivered. A caller that needs the
    /// request delivered must drive the call to completion rather
    /// than, say, wrapping it in a `timeout`.
    pub async fn write_file_stream_with_options(
        &self,
        requests: impl ::connectrpc::client::ClientRequestStream<WriteFileStreamRequest>,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::WriteFileStreamResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_client_stream(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_WRITE_FILE_STREAM_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                requests,
                options,
            )
            .await
    }
    /// Call the ReadFileStream RPC. Sends a request to /hostagent.v1.HostAgentService/ReadFileStream.
    pub async fn read_file_stream(
        &self,
        request: ReadFileStreamRequest,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::ReadFileStreamResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.read_file_stream_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ReadFileStream RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn read_file_stream_with_options(
        &self,
        request: ReadFileStreamRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::ReadFileStreamResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_server_stream(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_READ_FILE_STREAM_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the Console RPC. Sends a request to /hostagent.v1.HostAgentService/Console.
    pub async fn console(
        &self,
        request: ConsoleRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ConsoleResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.console_with_options(request, ::connectrpc::client::CallOptions::default())
            .await
    }
    /// Call the Console RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn console_with_options(
        &self,
        request: ConsoleRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ConsoleResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_CONSOLE_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the Metrics RPC. Sends a request to /hostagent.v1.HostAgentService/Metrics.
    pub async fn metrics(
        &self,
        request: MetricsRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::MetricsResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.metrics_with_options(request, ::connectrpc::client::CallOptions::default())
            .await
    }
    /// Call the Metrics RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn metrics_with_options(
        &self,
        request: MetricsRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::MetricsResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_METRICS_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the MeasureStorage RPC. Sends a request to /hostagent.v1.HostAgentService/MeasureStorage.
    pub async fn measure_storage(
        &self,
        request: MeasureStorageRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::MeasureStorageResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.measure_storage_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the MeasureStorage RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn measure_storage_with_options(
        &self,
        request: MeasureStorageRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::MeasureStorageResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_MEASURE_STORAGE_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the CreateSnapshot RPC. Sends a request to /hostagent.v1.HostAgentService/CreateSnapshot.
    pub async fn create_snapshot(
        &self,
        request: CreateSnapshotRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::CreateSnapshotResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.create_snapshot_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the CreateSnapshot RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn create_snapshot_with_options(
        &self,
        request: CreateSnapshotRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::CreateSnapshotResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_CREATE_SNAPSHOT_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the DeleteSnapshot RPC. Sends a request to /hostagent.v1.HostAgentService/DeleteSnapshot.
    pub async fn delete_snapshot(
        &self,
        request: DeleteSnapshotRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::DeleteSnapshotResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.delete_snapshot_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the DeleteSnapshot RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn delete_snapshot_with_options(
        &self,
        request: DeleteSnapshotRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::DeleteSnapshotResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_DELETE_SNAPSHOT_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the Fork RPC. Sends a request to /hostagent.v1.HostAgentService/Fork.
    pub async fn fork(
        &self,
        request: ForkRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ForkResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.fork_with_options(request, ::connectrpc::client::CallOptions::default())
            .await
    }
    /// Call the Fork RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn fork_with_options(
        &self,
        request: ForkRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ForkResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_FORK_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the VerifySnapshot RPC. Sends a request to /hostagent.v1.HostAgentService/VerifySnapshot.
    pub async fn verify_snapshot(
        &self,
        request: VerifySnapshotRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::VerifySnapshotResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.verify_snapshot_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the VerifySnapshot RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn verify_snapshot_with_options(
        &self,
        request: VerifySnapshotRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::VerifySnapshotResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_VERIFY_SNAPSHOT_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the ExportSnapshot RPC. Sends a request to /hostagent.v1.HostAgentService/ExportSnapshot.
    pub async fn export_snapshot(
        &self,
        request: ExportSnapshotRequest,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::ExportSnapshotResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.export_snapshot_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ExportSnapshot RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn export_snapshot_with_options(
        &self,
        request: ExportSnapshotRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::ServerStream<
            T::ResponseBody,
            __buffa::view::ExportSnapshotResponseView<'static>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_server_stream(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_EXPORT_SNAPSHOT_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the ImportSnapshot RPC. Sends a request to /hostagent.v1.HostAgentService/ImportSnapshot.
    ///
    /// `requests` is any `Stream<Item = ...> + Send + 'static` of
    /// request messages (the `ClientRequestStream` bound); messages
    /// are sent as the stream yields them. It backs the request
    /// body, so yield owned messages or feed the call from a
    /// channel-backed stream. For a collection that is already in
    /// hand, wrap it with `::connectrpc::stream_iter(...)`.
    ///
    /// Dropping the returned future cancels the call: the request
    /// body is dropped along with it, so messages the stream had
    /// not yet yielded are never delivered. A caller that needs the
    /// request delivered must drive the call to completion rather
    /// than, say, wrapping it in a `timeout`.
    pub async fn import_snapshot(
        &self,
        requests: impl ::connectrpc::client::ClientRequestStream<ImportSnapshotRequest>,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ImportSnapshotResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.import_snapshot_with_options(
                requests,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ImportSnapshot RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    ///
    /// `requests` is any `Stream<Item = ...> + Send + 'static` of
    /// request messages (the `ClientRequestStream` bound); messages
    /// are sent as the stream yields them. It backs the request
    /// body, so yield owned messages or feed the call from a
    /// channel-backed stream. For a collection that is already in
    /// hand, wrap it with `::connectrpc::stream_iter(...)`.
    ///
    /// Dropping the returned future cancels the call: the request
    /// body is dropped along with it, so messages the stream had
    /// not yet yielded are never delivered. A caller that needs the
    /// request delivered must drive the call to completion rather
    /// than, say, wrapping it in a `timeout`.
    pub async fn import_snapshot_with_options(
        &self,
        requests: impl ::connectrpc::client::ClientRequestStream<ImportSnapshotRequest>,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ImportSnapshotResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_client_stream(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_IMPORT_SNAPSHOT_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                requests,
                options,
            )
            .await
    }
    /// Call the ListTemplates RPC. Sends a request to /hostagent.v1.HostAgentService/ListTemplates.
    pub async fn list_templates(
        &self,
        request: ListTemplatesRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ListTemplatesResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.list_templates_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ListTemplates RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn list_templates_with_options(
        &self,
        request: ListTemplatesRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ListTemplatesResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_LIST_TEMPLATES_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the DeleteTemplate RPC. Sends a request to /hostagent.v1.HostAgentService/DeleteTemplate.
    pub async fn delete_template(
        &self,
        request: DeleteTemplateRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::DeleteTemplateResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.delete_template_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the DeleteTemplate RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn delete_template_with_options(
        &self,
        request: DeleteTemplateRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::DeleteTemplateResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_DELETE_TEMPLATE_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the ListPools RPC. Sends a request to /hostagent.v1.HostAgentService/ListPools.
    pub async fn list_pools(
        &self,
        request: ListPoolsRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ListPoolsResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.list_pools_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the ListPools RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn list_pools_with_options(
        &self,
        request: ListPoolsRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ListPoolsResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_LIST_POOLS_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the WarmPool RPC. Sends a request to /hostagent.v1.HostAgentService/WarmPool.
    pub async fn warm_pool(
        &self,
        request: WarmPoolRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::WarmPoolResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.warm_pool_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the WarmPool RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn warm_pool_with_options(
        &self,
        request: WarmPoolRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::WarmPoolResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_WARM_POOL_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the DrainPool RPC. Sends a request to /hostagent.v1.HostAgentService/DrainPool.
    pub async fn drain_pool(
        &self,
        request: DrainPoolRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::DrainPoolResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.drain_pool_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the DrainPool RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn drain_pool_with_options(
        &self,
        request: DrainPoolRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::DrainPoolResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_DRAIN_POOL_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the Health RPC. Sends a request to /hostagent.v1.HostAgentService/Health.
    pub async fn health(
        &self,
        request: HealthRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::HealthResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.health_with_options(request, ::connectrpc::client::CallOptions::default())
            .await
    }
    /// Call the Health RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn health_with_options(
        &self,
        request: HealthRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::HealthResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_HEALTH_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the HostMetrics RPC. Sends a request to /hostagent.v1.HostAgentService/HostMetrics.
    pub async fn host_metrics(
        &self,
        request: HostMetricsRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::HostMetricsResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.host_metrics_with_options(
                request,
                ::connectrpc::client::CallOptions::default(),
            )
            .await
    }
    /// Call the HostMetrics RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn host_metrics_with_options(
        &self,
        request: HostMetricsRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::HostMetricsResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_HOST_METRICS_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the Sweep RPC. Sends a request to /hostagent.v1.HostAgentService/Sweep.
    pub async fn sweep(
        &self,
        request: SweepRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::SweepResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.sweep_with_options(request, ::connectrpc::client::CallOptions::default())
            .await
    }
    /// Call the Sweep RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn sweep_with_options(
        &self,
        request: SweepRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::SweepResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_SWEEP_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
    /// Call the Shutdown RPC. Sends a request to /hostagent.v1.HostAgentService/Shutdown.
    pub async fn shutdown(
        &self,
        request: ShutdownRequest,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ShutdownResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        self.shutdown_with_options(request, ::connectrpc::client::CallOptions::default())
            .await
    }
    /// Call the Shutdown RPC with explicit per-call options. Options override [`ClientConfig`](::connectrpc::client::ClientConfig) defaults.
    pub async fn shutdown_with_options(
        &self,
        request: ShutdownRequest,
        options: ::connectrpc::client::CallOptions,
    ) -> Result<
        ::connectrpc::client::UnaryResponse<
            ::buffa::view::OwnedView<__buffa::view::ShutdownResponseView<'static>>,
        >,
        ::connectrpc::ConnectError,
    > {
        ::connectrpc::client::call_unary(
                &self.transport,
                &self.config,
                HOST_AGENT_SERVICE_SHUTDOWN_SPEC
                    .with_origin(::connectrpc::SpecOrigin::Client),
                request,
                options,
            )
            .await
    }
}
