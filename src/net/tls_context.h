#pragma once

#include <memory>
#include <string>

#include "base/result.h"

struct ssl_ctx_st;

namespace sollol::net {

/// What one side of TLS connections is set up with: certificate, trust, versions. Immutable; any
/// thread; connections keep what they were made with alive.
///
/// TLS 1.2 and 1.3, forward secrecy and authenticated encryption only, no renegotiation, no
/// compression, ALPN `http/1.1`.
class TlsContext {
 public:
  /// For the listening side: a PEM file with the certificate and its chain, and one with its key.
  /// Error: bad_input, naming the setting, the file and the reason.
  static Result<std::shared_ptr<const TlsContext>> server(const std::string& certificate_file,
                                                          const std::string& key_file);

  /// For the connecting side, which verifies its peer: against the system's certificate store, and
  /// the authorities of the PEM file `ca_file` besides, when it names one. Error: bad_input, as
  /// above; `ca_setting` is what the message calls the file.
  static Result<std::shared_ptr<const TlsContext>> client(const std::string& ca_file = {},
                                                          std::string_view ca_setting = "tls.ca");

  ssl_ctx_st* native() const noexcept { return context_.get(); }

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  using Handle = std::unique_ptr<ssl_ctx_st, Free>;
  explicit TlsContext(Handle context) : context_(std::move(context)) {}
  Handle context_;
};

}  // namespace sollol::net
