#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "gateway/connection.h"

namespace sollol::gateway {

/// A program that has told that it uses the gateway's nodes.
struct Application {
  std::string name = {};
  std::string host = {};  // where it runs, by its own word
  std::int64_t pid = 0;
  std::string address = {};  // from where it told
  WallTime since{};
};

/// Those that told last. Any thread.
class Applications {
 public:
  static constexpr std::size_t kept_max = 256;  // the oldest goes

  /// A program that has told before is told anew.
  void note(Application application);
  std::vector<Application> newest_first() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Application> all_;
};

/// Error: bad_input, naming the field.
Result<Application> parse_application(std::string_view body);

/// `POST /sollol/v1/applications` notes one, `GET` lists them.
net::Task<void> serve_applications(Connection& client);

}  // namespace sollol::gateway
