#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sollol::sim {

/// An answer as it came over the wire.
struct Reply {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers{};  // in order, names as sent
  std::string body{};
  std::vector<std::string> chunks{};  // of a chunked body
  bool complete = false;              // false: the connection ended or broke before the end

  std::string header(std::string_view name) const;  // any case; "" when absent
  boost::json::value json() const;                  // fails the test when it is none
  boost::json::array lines() const;                 // of an NDJSON body
  boost::json::array events() const;                // the data of an SSE body; "[DONE]" as a string
  std::string error() const;                        // of a native error
};

struct Ask {
  std::string method = "POST";
  std::string path{};
  std::string body{};
  std::vector<std::pair<std::string, std::string>> headers{};
};

/// A connection to a node; blocking, for tests.
class TestConnection {
 public:
  explicit TestConnection(std::string_view url);
  ~TestConnection();

  /// Whether the node accepted the connection.
  bool connected() const;
  void send(const Ask& ask);
  void send_raw(std::string_view bytes);
  Reply read();
  /// Waits for bytes and takes them; "" at the end of the connection or when it breaks.
  std::string read_some();
  /// The client leaves.
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One request on a connection of its own.
Reply ask(std::string_view url, const Ask& ask);
Reply get(std::string_view url, std::string path);
Reply post(std::string_view url, std::string path, const boost::json::value& body);

}  // namespace sollol::sim
