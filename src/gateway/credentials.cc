#include "gateway/credentials.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/server.h"
#include "discovery/files.h"

namespace sollol::gateway {

namespace {

using Context = std::shared_ptr<const net::TlsContext>;

Result<Context> load_identity(const TlsOptions& tls) {
  if (tls.certificate_file.empty() && tls.key_file.empty()) return Context();
  if (tls.certificate_file.empty() || tls.key_file.empty())
    return std::unexpected(bad_input("tls.cert and tls.key: name both or none"));
  return net::TlsContext::server(tls.certificate_file, tls.key_file);
}

/// The ring of the keys file, or null where none is named.
Result<std::shared_ptr<const KeyRing>> load_keys(const std::string& file, const KeyRing* before) {
  if (file.empty()) return std::shared_ptr<const KeyRing>();
  const auto text = discovery::read_file(file);
  if (!text) {
    return std::unexpected(bad_input(
        fmt::format("keys_file: {}; `sollol keys add NAME` makes it", text.error().detail)));
  }
  auto records = parse_keys(*text, file);
  if (!records) return std::unexpected(bad_input("keys_file: " + records.error().detail));
  return std::make_shared<const KeyRing>(std::move(*records), before);
}

/// The agents' token, from the file that agents read too.
Result<std::string> load_agent_token(const std::string& file) {
  if (file.empty()) return std::string();
  const auto text = discovery::read_file(file);
  if (!text) return std::unexpected(bad_input("agents.token_file: " + text.error().detail));
  auto token = agent::parse_token(*text);
  if (!token) return std::unexpected(bad_input("agents.token_file: " + token.error().detail));
  return token;
}

}  // namespace

Result<void> Credentials::load(const Options& options) {
  Result<Context> identity = load_identity(options.tls);
  if (!identity) return std::unexpected(identity.error());
  // A bad file is told now, not by the first probe.
  const bool needs_trust =
      !options.tls.ca_file.empty() || std::ranges::any_of(options.nodes, cluster::uses_tls);
  Result<Context> trust = Context();
  if (needs_trust) trust = net::TlsContext::client(options.tls.ca_file);
  if (!trust) return std::unexpected(trust.error());
  auto keys = load_keys(options.access.keys_file, keys_.get().get());
  if (!keys) return std::unexpected(keys.error());
  auto token = load_agent_token(options.agents.token_file);
  if (!token) return std::unexpected(token.error());
  agent_token_.publish(std::make_shared<const std::string>(*std::move(token)));
  keys_.publish(std::move(*keys));
  const std::scoped_lock lock(mutex_);
  identity_ = std::move(*identity);
  trust_ = std::move(*trust);
  ca_file_ = options.tls.ca_file;
  return {};
}

std::shared_ptr<const net::TlsContext> Credentials::identity() const {
  const std::scoped_lock lock(mutex_);
  return identity_;
}

Result<std::shared_ptr<const net::TlsContext>> Credentials::trust() {
  const std::scoped_lock lock(mutex_);
  if (!trust_) {
    auto made = net::TlsContext::client(ca_file_);
    if (!made) return made;
    trust_ = std::move(*made);
  }
  return trust_;
}

}  // namespace sollol::gateway
