#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "sollol/call.h"
#include "sollol/failure.h"
#include "sollol/node_registry.h"

namespace sollol {

struct PoolOptions {
  std::vector<NewNode> nodes = {};             // none of them is asked before it is taken
  std::string policy = "expected_completion";  // as `sollol up --policy` takes it
  unsigned workers = 1;                        // threads that relay
};

/// A gateway inside this process: it has no address, and serves this process alone, with all that a
/// gateway does between a request and its answer.
///
/// Every call may be made from any thread. Destroying it ends its threads; calls still under way
/// break off. In a process that was forked from its own it must be left alone, not even destroyed:
/// its threads are the parent's.
class Pool {
 public:
  /// Failure: an option that cannot be used, by name.
  static std::expected<Pool, Failure> open(const PoolOptions& options);
  Pool(Pool&&) noexcept;
  Pool& operator=(Pool&&) noexcept;
  ~Pool();

  /// Begins a call. Failure: no descriptor is left, or a field that cannot stand in a head.
  std::expected<Call, Failure> call(CallRequest request);
  /// The nodes, to be added, removed and looked at. Lives as long as the pool.
  NodeRegistry& nodes();

 private:
  struct Impl;
  explicit Pool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A gateway that runs elsewhere, asked as a pool is.
class GatewayClient {
 public:
  /// Tries the gateway's addresses in turn and keeps the first that accepts a connection within
  /// `timeout_s`. `url`: http://HOST[:11434]. `key`: an API key; empty: none. Failure: a URL that
  /// cannot be used; nobody answers there.
  static std::expected<GatewayClient, Failure> open(const std::string& url, std::string key = {},
                                                    double timeout_s = 2);
  GatewayClient(GatewayClient&&) noexcept;
  GatewayClient& operator=(GatewayClient&&) noexcept;
  ~GatewayClient();

  std::expected<Call, Failure> call(CallRequest request);

 private:
  struct Impl;
  explicit GatewayClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sollol
