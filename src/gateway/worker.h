#pragma once

#include <memory>
#include <string>
#include <thread>
#include <unordered_set>

#include "api/intent.h"
#include "base/random.h"
#include "cluster/retry_budget.h"
#include "gateway/access_log.h"
#include "gateway/decision_log.h"
#include "gateway/metrics.h"
#include "gateway/options.h"
#include "gateway/request.h"
#include "gateway/upstream_pool.h"
#include "gateway/view.h"
#include "net/http_call.h"
#include "net/tcp.h"
#include "routing/candidate.h"

namespace sollol::gateway {

class Admission;
class Connection;
class Control;
class Worker;

/// What all workers share.
struct Shared {
  const Options& options;
  ViewSource& views;
  Control& control;
  Admission& admission;
  cluster::RetryBudget& retries;
  AccessLogFile& access_log;
  const std::vector<std::unique_ptr<Worker>>& workers;
  TimePoint started;
};

/// One thread with its own acceptor, client connections and node connections. What it offers is for
/// the coroutines that run on it.
class Worker {
 public:
  Worker(Shared& shared, unsigned index, std::uint64_t seed);
  ~Worker();

  /// Binds the listener; the error names the address and the mend.
  Result<Address> listen(const Address& at);
  void start();
  void stop();

  net::asio::io_context& context() noexcept { return context_; }
  net::Scheduler& scheduler() noexcept { return scheduler_; }
  net::Connector& connector() noexcept { return connector_; }
  net::HttpScratch& scratch() noexcept { return scratch_; }
  http::RequestHead& request_head() noexcept { return request_head_; }
  api::IntentScanner& intents() noexcept { return intents_; }
  UpstreamPool& pool() noexcept { return pool_; }
  Random& random() noexcept { return random_; }
  Metrics& metrics() noexcept { return metrics_; }
  DecisionLog& decisions() noexcept { return decisions_; }
  /// Reused by each choice; valid until the next.
  std::vector<routing::Candidate>& candidates() noexcept { return candidates_; }
  Shared& shared() noexcept { return shared_; }
  const Options& options() const noexcept { return shared_.options; }
  const std::shared_ptr<const FleetView>& view() { return views_.current(); }
  bool draining() const noexcept { return draining_; }

  /// The Date field's value, made once a second.
  const std::string& http_date();
  /// Gives the request an id if the client gave none, and its time of arrival.
  void name_request(Request& request);
  void opened(Connection& connection);
  void closed(Connection& connection);
  /// Counts and logs a finished request.
  void finished(const Request& request);

 private:
  net::Task<void> accept_loop();
  net::Task<void> flush_access_log();

  Shared& shared_;
  net::asio::io_context context_{1};
  net::asio::executor_work_guard<net::asio::io_context::executor_type> work_;
  net::AsioScheduler scheduler_;
  net::TcpConnector connector_;
  net::HttpScratch scratch_;
  http::RequestHead request_head_;
  api::IntentScanner intents_;
  ViewReader views_;
  UpstreamPool pool_;
  SeededRandom random_;
  Metrics metrics_;
  DecisionLog decisions_;
  AccessLogBuffer access_log_;
  std::vector<routing::Candidate> candidates_;
  std::optional<net::TcpListener> listener_;
  std::unordered_set<Connection*> connections_;
  std::string http_date_;
  std::time_t http_date_second_ = 0;
  std::uint64_t id_prefix_;
  std::uint32_t next_id_ = 0;
  bool draining_ = false;
  std::thread thread_;
};

}  // namespace sollol::gateway
