#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/recorder.h"
#include "sim/spec.h"

namespace sollol::sim {

/// Simulated Ollama nodes, served over real sockets by one thread of its own.
///
///     Fleet fleet{{.nodes = {{.name = "a", .models = {llama()}}, {.name = "b", .models =
///     {llama()}}}}}; get(fleet.url("a") + "/api/tags"); fleet.kill("a"); fleet.wait_until([&] {
///     return fleet.counters("b").of("POST /api/chat") == 1; });
///
/// The addresses are bound when the constructor returns; it throws std::runtime_error, naming node
/// and address, when one is taken. Every member may be called from any thread; a node that does not
/// exist is std::out_of_range.
class Fleet {
 public:
  explicit Fleet(FleetConfig config);
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  /// Begins to serve. The constructor does so too: only needed after stop().
  void start();
  void stop();

  std::vector<std::string> names() const;
  /// "http://127.0.0.1:40001".
  std::string url(std::string_view node) const;
  std::vector<std::string> urls() const;

  /// Replaces the node's faults; {} for none. In force when the call returns.
  void set_fault(std::string_view node, FaultSpec fault);
  void set_faults(std::string_view node, std::vector<FaultSpec> faults);
  /// The machine is switched off: connections end, new ones are refused, what was loaded is lost.
  void kill(std::string_view node);
  void restart(std::string_view node);

  NodeCounters counters(std::string_view node) const;
  /// The last 64 requests, oldest first.
  std::vector<SeenRequest> requests(std::string_view node) const;
  /// The last request for a path; nullopt when there was none.
  std::optional<SeenRequest> last_request(std::string_view node, std::string_view path) const;
  /// Waits until the condition holds; asks again whenever a counter of any node changes. False: it
  /// did not in time.
  bool wait_until(const std::function<bool()>& condition,
                  std::chrono::steady_clock::duration timeout = std::chrono::seconds{10}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sollol::sim
