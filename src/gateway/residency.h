#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gateway/cold_load.h"
#include "gateway/metrics.h"
#include "gateway/options.h"
#include "gateway/view.h"
#include "net/task.h"
#include "net/tcp.h"
#include "routing/residency.h"

namespace sollol::gateway {

class Admission;
class Control;
class Worker;

/// What is planned, and what of it is under way.
struct ResidencyReport {
  struct UnderWay {
    routing::ResidencyStep step;
    double since_s = 0;
    std::uint64_t pull_total = 0;  // bytes; 0: not told
    std::uint64_t pull_completed = 0;
  };
  ResidencyOptions::Mode mode = ResidencyOptions::Mode::advised;
  bool auto_pull = false;
  routing::ResidencyPlan plan{};  // steps that are not under way are advice, or wait for their turn
  std::vector<UnderWay> under_way{};
};
std::string_view name(ResidencyOptions::Mode mode) noexcept;

/// Plans which models are in the memory of which nodes, and carries it out as far as the mode says:
/// loads through `ColdLoads`, so that requests join them.
///
/// Lives on the control thread: what is a coroutine, or says nothing else, runs there.
class ResidencyKeeper {
 public:
  using Workers = std::vector<std::unique_ptr<Worker>>;
  ResidencyKeeper(const OptionsSource& options, ViewSource& views, Control& control,
                  Admission& admission, ColdLoads& loads, const Workers& workers);

  /// Before `start`.
  void restore(const std::map<std::string, std::pair<std::string, std::uint32_t>>& wishes);
  void start();
  /// Any thread: the gateway stops, nothing new is begun.
  void rest() noexcept { resting_ = true; }

  net::Task<ResidencyReport> report();
  /// An operator wants the model on so many nodes, from now on; 0: wants nothing of it any more.
  /// What is missing is loaded at once, whatever the mode.
  net::Task<ResidencyReport> wish(std::string key, std::string model, std::uint32_t replicas);
  net::Task<std::map<std::string, std::pair<std::string, std::uint32_t>>> wishes();

  /// Any thread: steps begun, and loads and pulls that failed, since the start.
  struct Counters {
    using ByCause = std::array<Counter, 2>;
    std::array<ByCause, 3> begun;  // by kind and cause
    Counter failed;
  };
  const Counters& counters() const noexcept { return counters_; }

 private:
  struct Running;

  net::Task<void> watch();
  void turn();
  void tell_advice();
  void carry_out(std::shared_ptr<Running> running);
  net::Task<void> run(std::shared_ptr<Running> running);
  ResidencyReport report_now();

  const OptionsSource& options_;
  ViewSource& views_;
  Control& control_;
  Admission& admission_;
  ColdLoads& loads_;
  const Workers& workers_;
  net::AsioScheduler scheduler_;  // of the control thread
  std::atomic<bool> resting_{false};
  std::size_t turn_ = 0;  // of the workers
  routing::Residency residency_;
  routing::ResidencyPlan plan_;
  std::vector<std::shared_ptr<Running>> running_;
  std::set<std::pair<NodeId, std::string>> told_;  // advice that was logged, by node and model
  Counters counters_;
};

}  // namespace sollol::gateway
