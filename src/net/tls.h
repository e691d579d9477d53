#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "net/stream.h"
#include "net/tls_context.h"

namespace sollol::net {

/// TLS over another stream, as a stream: what is read and written is the plain text.
///
/// It keeps Stream's promises. A wait for reading ends when there is plain text, an end or an
/// error, not when a mere record of the protocol came. While nothing is under way it holds no
/// record buffers. `close` and `shutdown_write` tell the peer that all was sent (close_notify);
/// `reset` and destruction do not, so that a cut answer cannot look complete. The peer's
/// close_notify reads as `end`; a connection that ends without one reads as `error`.

/// The server's side. Returns when the client's handshake is done. Error: timeout (it was not done
/// by `deadline`), bad_reply (what it sent is no acceptable handshake; it has been told why, also
/// when it speaks plain HTTP), reset. `plain` is closed then.
Task<Result<std::unique_ptr<Stream>>> tls_accept(std::unique_ptr<Stream> plain,
                                                 std::shared_ptr<const TlsContext> context,
                                                 asio::io_context& loop, TimePoint deadline);

/// The client's side towards `host`, a name or an IP address without brackets, for which the peer's
/// certificate must be valid. Error: timeout, reset, untrusted (the certificate cannot be trusted:
/// the detail says why), bad_reply.
Task<Result<std::unique_ptr<Stream>>> tls_connect(std::unique_ptr<Stream> plain,
                                                  std::shared_ptr<const TlsContext> context,
                                                  asio::io_context& loop, std::string host,
                                                  TimePoint deadline);

}  // namespace sollol::net
