#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "net/client_socket.h"
#include "sollol/call.h"

namespace sollol {

/// Where the connections of calls come from: kept ones first. Any thread.
class CallPath {
 public:
  virtual ~CallPath() = default;

  struct Connection {
    net::ClientSocket socket;
    bool kept = false;  // it has carried a call, and may have been closed since
  };
  Result<Connection> take();
  Result<Connection> connect();
  /// For the next call.
  void keep(net::ClientSocket socket);

  /// The head's lines that are the same for every call.
  virtual const std::string& fields() const = 0;

 private:
  virtual Result<net::ClientSocket> connect_fresh() = 0;

  static constexpr std::size_t kept_max = 64;
  std::mutex mutex_;
  std::vector<net::ClientSocket> kept_;
};

/// Begins a call over a connection of `path`.
std::expected<Call, Failure> begin_call(const std::shared_ptr<CallPath>& path, CallRequest request);

}  // namespace sollol
