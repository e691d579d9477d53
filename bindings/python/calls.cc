#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "batches.h"
#include "core.h"
#include "registry.h"
#include "sollol/pool.h"

namespace sollol::python {

using namespace nb::literals;
using Fields = std::vector<std::pair<std::string, std::string>>;
using Clock = std::chrono::steady_clock;

namespace {

/// A negative time-out is none.
class Deadline {
 public:
  explicit Deadline(double timeout)
      : at_(timeout < 0 ? Clock::time_point::max()
                        : Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                             std::chrono::duration<double>(timeout))) {}
  bool passed() const { return at_ != Clock::time_point::max() && Clock::now() >= at_; }
  /// For how long a thread may sleep now.
  double slice() const {
    const double most = on_main_thread() ? std::chrono::duration<double>(signal_check_every).count()
                                         : longest_sleep_s;
    if (at_ == Clock::time_point::max()) return most;
    return std::clamp(std::chrono::duration<double>(at_ - Clock::now()).count(), 0.0, most);
  }

 private:
  static constexpr double longest_sleep_s = 1;
  Clock::time_point at_;
};

nb::bytes to_bytes(const std::string& text) { return nb::bytes(text.data(), text.size()); }

CallRequest to_request(std::string method, std::string target, const nb::bytes& body,
                       Fields fields) {
  return {std::move(method), std::move(target), std::string(body.c_str(), body.size()),
          std::move(fields)};
}

Call::State advance(Call& call) {
  const auto state = call.advance();
  if (!state) {
    const PythonAgain python;
    raise(state.error(), Blame::connection);
  }
  return *state;
}

/// Goes on until `enough(state)`; false: not within the time. Called without the GIL.
template <class Enough>
bool advance_until(Call& call, const Deadline& deadline, Enough enough) {
  while (!enough(advance(call))) {
    if (call.wait(deadline.slice())) continue;
    if (on_main_thread()) {
      const PythonAgain python;
      check_signals();
    }
    if (deadline.passed()) return false;
  }
  return true;
}

/// The status; None: not within the time.
std::optional<int> wait_for_head(Call& call, double timeout) {
  const OthersRun others_run;
  const auto has_head = [&](Call::State) { return call.status() != 0; };
  if (!advance_until(call, Deadline(timeout), has_head)) return std::nullopt;
  return call.status();
}

/// More of the body, nothing at its end; None: not within the time.
std::optional<nb::bytes> read(Call& call, double timeout) {
  std::string piece;
  {
    const OthersRun others_run;
    const auto has_piece = [&](Call::State state) {
      piece += call.take();
      return !piece.empty() || state == Call::State::ended;
    };
    if (!advance_until(call, Deadline(timeout), has_piece)) return std::nullopt;
  }
  return to_bytes(piece);
}

/// The whole body; None: not within the time.
std::optional<nb::bytes> read_all(Call& call, double timeout) {
  {
    const OthersRun others_run;
    const auto ended = [](Call::State state) { return state == Call::State::ended; };
    if (!advance_until(call, Deadline(timeout), ended)) return std::nullopt;
  }
  return to_bytes(call.take());
}

/// A pool, or a gateway elsewhere.
template <class Service>
struct Held {
  std::shared_ptr<Service> service;

  std::shared_ptr<Service> get() const {
    if (!service) raise({"the pool is closed"}, Blame::connection);
    return service;
  }
  Call call(std::string method, std::string target, const nb::bytes& body, Fields fields) const {
    CallRequest request = to_request(std::move(method), std::move(target), body, std::move(fields));
    auto begun = [&] {
      const auto held = get();
      const OthersRun others_run;
      return held->call(std::move(request));
    }();
    if (!begun) raise(begun.error(), Blame::connection);
    return std::move(*begun);
  }
  CallStarter starter() const {
    return [held = get()](CallRequest request) { return held->call(std::move(request)); };
  }
  void close() {
    const OthersRun others_run;
    service.reset();
  }
  /// Its threads are those of the process that this one was forked from.
  void abandon() { new std::shared_ptr<Service>(std::move(service)); }
};

struct Batch {
  CallBatch calls;

  void add(std::uint64_t tag, std::string target, const nb::bytes& body, Fields fields) {
    CallRequest request = to_request("POST", std::move(target), body, std::move(fields));
    const OthersRun others_run;
    calls.add(tag, std::move(request));
  }
  /// (tag, status, node, body), or (tag, 0, "", what broke) in whatever order; None: none ended
  /// within the time, or none runs.
  std::optional<std::tuple<std::uint64_t, int, std::string, nb::bytes>> next(double timeout) {
    const Deadline deadline(timeout);
    while (!calls.empty()) {
      const auto done = [&] {
        const OthersRun others_run;
        return calls.next(deadline.slice());
      }();
      if (on_main_thread()) check_signals();
      if (!done && deadline.passed()) break;
      if (!done) continue;
      if (!done->answer)
        return std::tuple(done->tag, 0, std::string(), to_bytes(done->answer.error().text));
      return std::tuple(done->tag, done->answer->status, done->answer->node,
                        to_bytes(done->answer->body));
    }
    return std::nullopt;
  }
};

template <class Service>
void bind_service(nb::class_<Held<Service>>& bound) {
  using Self = Held<Service>;
  bound
      .def("call", &Self::call, "method"_a, "target"_a, "body"_a = nb::bytes("", 0),
           "fields"_a = Fields{})
      .def(
          "batch",
          [](const Self& self, std::size_t width) {
            return Batch{CallBatch(self.starter(), width)};
          },
          "width"_a)
      .def(
          "run_batch",
          [](const Self& self, std::string input, std::string output, std::string endpoint,
             std::size_t concurrency, std::optional<std::size_t> failures_max, bool as_they_finish,
             bool retry_failed) {
            return RunningBatch(self.starter(),
                                {.input = std::move(input),
                                 .output = std::move(output),
                                 .endpoint = std::move(endpoint),
                                 .concurrency = concurrency,
                                 .failures_max = failures_max,
                                 .order = as_they_finish ? BatchOrder::finished : BatchOrder::input,
                                 .retry_failed = retry_failed});
          },
          "input"_a, "output"_a, "endpoint"_a, "concurrency"_a, "failures_max"_a.none(),
          "as_they_finish"_a, "retry_failed"_a)
      .def("close", &Self::close)
      .def("abandon", &Self::abandon, "In a forked child: leaves everything as it is.");
}

Held<Pool> open_pool(const std::vector<std::tuple<std::string, unsigned, unsigned>>& nodes,
                     std::string policy, unsigned workers) {
  PoolOptions options{.nodes = {}, .policy = std::move(policy), .workers = workers};
  for (const auto& [url, priority, slots] : nodes)
    options.nodes.push_back({.url = url, .priority = priority, .slots = slots});
  auto opened = blocking([options] { return Pool::open(options); });
  if (!opened) raise(opened.error(), Blame::input);
  return {std::make_shared<Pool>(std::move(*opened))};
}

Held<GatewayClient> open_gateway(const std::string& url, const std::string& key, double timeout) {
  auto opened = blocking([=] { return GatewayClient::open(url, key, timeout); });
  if (!opened) raise(opened.error(), Blame::input);
  return {std::make_shared<GatewayClient>(std::move(*opened))};
}

}  // namespace

void bind_calls(nb::module_& module) {
  nb::class_<Call>(module, "Call")
      .def("wait_for_head", &wait_for_head, "timeout"_a)
      .def("read", &read, "timeout"_a)
      .def("read_all", &read_all, "timeout"_a)
      .def(
          "advance", [](Call& call) { return advance(call) == Call::State::ended; },
          "Goes on without waiting; whether the answer is whole.")
      .def("take", [](Call& call) { return to_bytes(call.take()); })
      .def_prop_ro("descriptor", &Call::descriptor)
      .def_prop_ro("sends", &Call::sends)
      .def_prop_ro("status", &Call::status)
      .def(
          "field", [](const Call& call, const std::string& name) { return call.field(name); },
          "name"_a);
  nb::class_<Batch>(module, "Batch")
      .def("add", &Batch::add, "tag"_a, "target"_a, "body"_a, "fields"_a = Fields{})
      .def_prop_ro("has_room", [](const Batch& self) { return self.calls.has_room(); })
      .def("next", &Batch::next, "timeout"_a);
  nb::class_<Held<Pool>> pool(module, "Pool");
  bind_service(pool);
  pool.def("nodes", [](const Held<Pool>& self) {
    const auto held = self.get();
    return Registry{std::shared_ptr<NodeRegistry>(held, &held->nodes())};
  });
  nb::class_<Held<GatewayClient>> gateway(module, "Gateway");
  bind_service(gateway);
  module.def("open_pool", &open_pool, "nodes"_a, "policy"_a, "workers"_a);
  module.def("open_gateway", &open_gateway, "url"_a, "key"_a, "timeout"_a);
}

}  // namespace sollol::python
