#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "gateway/keys.h"
#include "gateway/options.h"
#include "gateway/published.h"
#include "net/tls_context.h"

namespace sollol::gateway {

/// What the gateway shows and whom it trusts: the certificate of the listening side, the
/// authorities of https nodes, and API keys. Read from files at the start and by each reload; what
/// was made with the ones before goes on. Any thread; reading costs a mutex for the copy of a
/// pointer.
class Credentials {
 public:
  /// Reads all files that the options name. Error: bad_input, naming setting and file; then nothing
  /// has changed.
  Result<void> load(const Options& options);

  /// What the listening side shows; null: plain HTTP.
  std::shared_ptr<const net::TlsContext> identity() const;
  /// The keys in force; null: none is asked for.
  const Published<KeyRing>& keys() const noexcept { return keys_; }
  /// What agents are shown; empty: none. Never null.
  std::shared_ptr<const std::string> agent_token() const { return agent_token_.get(); }
  /// What https nodes are checked against. The system's certificates are read when they are first
  /// needed, so that a gateway without https nodes does not hold them.
  Result<std::shared_ptr<const net::TlsContext>> trust();

 private:
  Published<KeyRing> keys_{nullptr};
  Published<std::string> agent_token_{std::make_shared<const std::string>()};
  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<const net::TlsContext> identity_;
  std::shared_ptr<const net::TlsContext> trust_;
  std::string ca_file_;
};

}  // namespace sollol::gateway
