#pragma once

#include <list>
#include <memory>
#include <string>
#include <thread>
#include <unordered_set>

#include "api/intent.h"
#include "api/model_key_cache.h"
#include "base/random.h"
#include "cluster/history.h"
#include "cluster/retry_budget.h"
#include "gateway/access_log.h"
#include "gateway/credentials.h"
#include "gateway/decision_log.h"
#include "gateway/metrics.h"
#include "gateway/node_connector.h"
#include "gateway/options.h"
#include "gateway/request.h"
#include "gateway/request_memory.h"
#include "gateway/upstream_pool.h"
#include "gateway/view.h"
#include "net/client_socket.h"
#include "net/http_call.h"
#include "net/tcp.h"
#include "routing/candidate.h"

namespace sollol::gateway {

class Admission;
class ColdLoads;
class ContextWatch;
class Connection;
class Control;
class ResidencyKeeper;
class Worker;

class Applications;

/// What all workers share.
struct Shared {
  const OptionsSource& options;
  ViewSource& views;
  Control& control;
  Admission& admission;
  ColdLoads& loads;
  ResidencyKeeper& residency;
  ContextWatch& contexts;
  cluster::RetryBudget& retries;
  cluster::RetryBudget& hedges;
  cluster::History& history;
  Applications& applications;
  AccessLogFile& access_log;
  RequestMemory& request_memory;
  Credentials& credentials;
  const std::vector<std::unique_ptr<Worker>>& workers;
  TimePoint started;
  std::string id;  // of this gateway, for others to tell a request that comes round
};

/// A request under way, for people who wait for its end.
struct RunningRequest {
  std::string id;
  std::string client;
  std::string model;
  std::string node;
  Duration since{};
};

/// One thread with its own acceptors, client connections and node connections. What it offers is
/// for the coroutines that run on it.
class Worker {
 public:
  Worker(Shared& shared, unsigned index, std::uint64_t seed);
  ~Worker();

  /// Binds a listener; the error names the address and the mend.
  Result<Address> listen(const Address& at);
  /// Accepts on a socket that listens already, beside its other ones; owns the descriptor.
  Result<Address> adopt(int descriptor);
  void start();
  void stop();
  /// Destroys what is left to be done, after `stop`, while all that it may refer to is there.
  void drop_tasks();
  /// Descriptors of its listeners, in the order in which they were made. Before `drain`.
  std::vector<int> listening();

  // Any thread; each is done on the worker's own.
  /// Whether other processes hold our listening sockets too, and go on serving them.
  enum class Sockets : std::uint8_t { ours, shared };
  /// Takes nothing new: closes the listeners once nobody waits there, and connections without a
  /// request; what runs goes on.
  void drain(Sockets sockets);
  /// Ends what still runs with `why`, in the form of each request's API.
  void end_running(Error why);
  /// Resets what is left.
  void reset_connections();
  /// Nothing is left of a drain.
  bool drained() const noexcept { return drained_.load(std::memory_order_acquire); }
  /// Takes up changed options where they are not read for each request.
  void reconfigure();
  net::Task<std::vector<RunningRequest>> running();
  /// Serves a connection that somebody else made, as if it had come in at a listener.
  void take_connected(net::ClientSocket socket);

  net::Context& context() noexcept { return context_; }
  net::Scheduler& scheduler() noexcept { return scheduler_; }
  NodeConnector& nodes() noexcept { return nodes_; }
  net::HttpScratch& scratch() noexcept { return scratch_; }
  http::RequestHead& request_head() noexcept { return request_head_; }
  api::IntentScanner& intents() noexcept { return intents_; }
  api::ModelKeyCache& model_keys() noexcept { return model_keys_; }
  /// The API keys in force; null: none is asked for.
  const std::shared_ptr<const KeyRing>& keys() { return keys_.current(); }
  KeyCache& key_cache() noexcept { return key_cache_; }
  UpstreamPool& pool() noexcept { return pool_; }
  Random& random() noexcept { return random_; }
  Metrics& metrics() noexcept { return metrics_; }
  DecisionLog& decisions() noexcept { return decisions_; }
  /// Reused by each choice; valid until the next.
  std::vector<routing::Candidate>& candidates() noexcept { return candidates_; }
  Shared& shared() noexcept { return shared_; }
  /// The options in force; valid until the next co_await. A request has its own: see Connection.
  const Options& options() { return *options_.current(); }
  const std::shared_ptr<const Options>& options_now() { return options_.current(); }
  const std::shared_ptr<const FleetView>& view() { return views_.current(); }
  bool draining() const noexcept { return draining_; }
  /// Until when a draining worker's connections may wait for a request.
  TimePoint idle_until() const noexcept { return idle_until_; }

  /// The Date field's value, made once a second.
  const std::string& http_date();
  /// Gives the request an id if the client gave none, and its time of arrival.
  void name_request(Request& request);
  void opened(Connection& connection);
  /// From now on the connection may be closed to make room for another; not any more.
  void awaits_request(Connection& connection);
  void has_request(Connection& connection);
  void closed(Connection& connection);
  bool holds(Connection& connection) const { return connections_.contains(&connection); }
  /// Counts and logs a finished request.
  void finished(const Request& request);

 private:
  net::Task<void> accept_loop(net::TcpListener& listener);
  bool has_room();
  bool displace_one();
  net::Task<void> close_when_empty(net::TcpListener& listener);
  void note_accept_failure(const Error& error);
  void check_drained();
  void serve(std::unique_ptr<net::Stream> stream);
  net::Task<void> serve_secured(std::unique_ptr<net::Stream> plain,
                                std::shared_ptr<const net::TlsContext> identity);
  net::Task<void> flush_access_log();

  Shared& shared_;
  std::unique_ptr<net::Ring> ring_;  // outlives all streams, which the context's tasks hold
  net::Context context_;
  net::asio::executor_work_guard<net::asio::io_context::executor_type> work_;
  net::AsioScheduler scheduler_;
  net::TcpConnector connector_;
  NodeConnector nodes_;
  net::HttpScratch scratch_;
  http::RequestHead request_head_;
  api::IntentScanner intents_;
  api::ModelKeyCache model_keys_;
  ViewReader views_;
  OptionsReader options_;
  PublishedReader<KeyRing> keys_;
  KeyCache key_cache_;
  UpstreamPool pool_;
  SeededRandom random_;
  Metrics metrics_;
  DecisionLog decisions_;
  AccessLogBuffer access_log_;
  std::vector<routing::Candidate> candidates_;
  std::list<net::TcpListener> listeners_;
  std::size_t listening_ = 0;  // of them, those not closed
  std::unordered_set<Connection*> connections_;
  std::list<Connection*> waiting_;  // for a request; the one that has waited longest first
  std::list<Connection*> serving_;
  std::string http_date_;
  std::time_t http_date_second_ = 0;
  std::uint64_t id_prefix_;
  std::uint32_t next_id_ = 0;
  bool draining_ = false;
  std::size_t handshakes_ = 0;  // under way: they count as connections
  TimePoint idle_until_{};
  TimePoint accept_failure_told_{};
  std::atomic<bool> drained_{false};
  std::thread thread_;
};

}  // namespace sollol::gateway
