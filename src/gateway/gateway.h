#pragma once

#include <memory>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "gateway/options.h"

namespace sollol::gateway {

/// The whole gateway: a control thread and workers, on one listen address.
class Gateway {
 public:
  explicit Gateway(Options options);
  ~Gateway();

  /// Binds, starts all threads and returns the bound address. Error: refused, when the address
  /// cannot be had.
  Result<Address> start();
  /// Ends all threads; connections are closed.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sollol::gateway
