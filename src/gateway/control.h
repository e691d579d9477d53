#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/ids.h"
#include "base/random.h"
#include "base/result.h"
#include "cluster/cluster.h"
#include "discovery/node_collector.h"
#include "gateway/agent_sight.h"
#include "gateway/kept_findings.h"
#include "gateway/measure.h"
#include "gateway/node_connector.h"
#include "gateway/options.h"
#include "gateway/state_file.h"
#include "gateway/traffic_notes.h"
#include "gateway/view.h"
#include "locality/advice.h"
#include "locality/contention_plan.h"
#include "locality/facts.h"
#include "locality/grouping.h"
#include "locality/traffic.h"
#include "net/http_call.h"
#include "net/links.h"
#include "net/mdns.h"
#include "net/tcp.h"

namespace sollol::gateway {

/// The origin of a node that was found on the network: it goes when it has been away for long.
inline constexpr std::string_view discovered_origin = "discovered";

struct NodeRequest;

/// Whether a node is asked for what it can do before it is added.
enum class AutoProbe : std::uint8_t { off, on };

/// What a reload did to the nodes.
struct NodeChanges {
  unsigned added = 0;
  unsigned changed = 0;
  unsigned removed = 0;
};

/// The control thread: owns the cluster, probes every node, judges health, and publishes views.
///
/// Workers report what they see and read what is published. Everything public but `start`, `stop`
/// and `report` is a coroutine to be run on `context()`.
class Control {
 public:
  /// Told on the control thread when a node must not be waited for any longer.
  using NodeDown = std::function<void(NodeId)>;
  /// Told on the control thread after every change that may let a queued request go.
  using Changed = std::function<void()>;
  /// Told on the control thread when a node is no longer ours and nothing of ours runs there.
  using NodeGone = std::function<void(NodeId)>;

  Control(const OptionsSource& options, ViewSource& views, Credentials& credentials);
  ~Control();

  /// Takes up what an earlier process knew. Before `start`.
  void restore(const SavedState& state);
  void start(NodeDown node_down, Changed changed, NodeGone node_gone);
  void stop();
  /// Any thread: this gateway serves at that port from now on; none: it takes nothing new. Its
  /// links are told, where that is wanted.
  void announce(std::optional<std::uint16_t> port);

  net::Context& context() noexcept { return context_; }
  /// Any thread: `now`.
  const net::Scheduler& scheduler() const noexcept { return scheduler_; }

  /// Any thread: the outcome of a request at a node.
  void report(NodeId node, cluster::RequestOutcome outcome);
  /// Any thread: a request at a watched node has ended; before its slot goes.
  void note_traffic(const locality::TrafficRecord& record) { traffic_notes_.note(record); }
  /// Any thread: the node's list of models is not what we think.
  void refresh_soon(NodeId node);

  /// Asks every node for its models now; returns when all have answered or `limit` has passed.
  /// Calls within half a second of the last share its answer.
  net::Task<void> refresh_models(Duration limit);
  /// Asks these nodes for their models and loaded models now; returns when all have answered or
  /// `limit` has passed.
  net::Task<void> refresh_nodes(std::vector<NodeId> nodes, Duration limit);
  /// Adds a node; what it tells of itself when it is probed first. Errors: of the node when it was
  /// probed and is not there, else why it cannot be added or saved.
  net::Task<Result<NodeListing>> add_node(NodeRequest request);
  /// Adds the nodes that were found or added at run time to the node file. Error: there is none, or
  /// it cannot be written.
  struct Saved {
    std::string file;
    std::size_t added = 0;
  };
  net::Task<Result<Saved>> save_nodes();
  /// Looks for nodes once and takes in what it finds; how many are new. Error: as discovery::look.
  net::Task<Result<std::size_t>> find_nodes(discovery::ScanOptions how);
  /// The URL of the node that a name leads to, if it is one of ours under whatever name.
  net::Task<std::optional<std::string>> known_at(cluster::NodeInfo info);
  /// Whether each node answers, asked anew and all at once.
  struct NodeCheck {
    std::string url;
    bool answered = false;
    Duration took{};
  };
  struct CheckLimits {
    Duration connect;
    Duration answer;
  };
  net::Task<std::vector<NodeCheck>> check_nodes(CheckLimits limits);
  net::Task<bool> remove_node(NodeId node);
  net::Task<bool> set_admin(NodeId node, cluster::Admin admin);
  /// Takes up changed options: limits at once, nodes by what differs. A node that stays keeps what
  /// is known of it; one that is no longer configured finishes what it has and goes. Nodes that
  /// were added at run time stay.
  net::Task<NodeChanges> apply(std::shared_ptr<const Options> options);
  /// What a later process should know.
  net::Task<SavedState> saved_state();
  /// Name, availability, reason and back-off of each node, for people.
  struct NodeHealthReport {
    NodeId node;
    std::string reason;
    double back_off_s = 0;
  };
  net::Task<std::vector<NodeHealthReport>> health_report();
  /// Which nodes share a machine or a device, why, and whether so many tasks should run at once.
  struct Locality {
    locality::Grouping grouping;
    locality::Advice advice;
    std::vector<NamedFinding> measured;  // pairs of nodes that are there
  };
  net::Task<Locality> locality(std::size_t tasks);
  /// Before `start`: how many requests wait for a place. Asked on the control thread.
  void count_queued(std::function<std::uint32_t()> queued) { queued_ = std::move(queued); }
  /// Before `start`: which sleeping nodes requests in the queue should have woken, when that takes
  /// so long. Asked on the control thread.
  using WantedAsleep = std::function<std::vector<NodeId>(Duration wake_time)>;
  void find_wanted(WantedAsleep wanted) { wanted_asleep_ = std::move(wanted); }
  /// Begins to measure which of the suspected nodes slow each other; it goes on by itself, and
  /// `measuring` tells how far it is. Error: overloaded, when requests are under way or a
  /// measurement is; bad_input, when the model's name is none.
  net::Task<Result<void>> start_measuring(MeasureWish wish);
  /// The measurement under way, else the last; of its probes those after the first `probes_seen`.
  net::Task<MeasureReport> measuring(std::size_t probes_seen);
  /// Ends one under way soon; what it knows by then is kept.
  net::Task<void> stop_measuring(std::string why);

 private:
  struct Probe;        // one node's connections and loops
  struct Measurement;  // control_measure.h
  struct MeasureTarget;
  struct Ask;

  net::Task<void> watch_liveness(std::shared_ptr<Probe> probe);
  net::Task<void> watch_models(std::shared_ptr<Probe> probe);
  net::Task<void> watch_loaded(std::shared_ptr<Probe> probe);
  net::Task<void> tick();
  net::Task<void> watch_network();
  void join_mdns();
  net::Task<void> look_for_nodes();
  void take_found(const discovery::DiscoveredNode& found);
  void join(const discovery::DiscoveredNode& found);
  void leave_others(const discovery::DiscoveredNode& found, NodeId keeper);
  std::shared_ptr<Probe> who_moved(const discovery::DiscoveredNode& found) const;
  void wait_for_end_of_look(const discovery::DiscoveredNode& found);
  net::Task<void> settle_strangers();
  net::Task<bool> answers_still(std::shared_ptr<Probe> probe);
  void move_to(Probe& probe, const discovery::DiscoveredNode& found);
  void forget_lost_nodes();
  void use_known_nodes();
  void save_found_nodes();
  void forget_saved(const cluster::NodeInfo& info);
  /// Publishes which nodes share what, when something that tells it has changed. At most twice a
  /// second, and less often where it takes long.
  void group_nodes_if_due();
  void recall(NodeId node);
  net::Task<bool> resolve(std::shared_ptr<Probe> probe);
  net::Task<cluster::ProbeOutcome> probe_version(std::shared_ptr<Probe> probe);
  net::Task<bool> fetch_models(std::shared_ptr<Probe> probe);
  net::Task<bool> fetch_loaded(std::shared_ptr<Probe> probe);
  net::Task<void> fetch_models_only(std::shared_ptr<Probe> probe);
  net::Task<void> refresh_node(NodeId node, std::shared_ptr<std::size_t> running);
  net::Task<void> fetch_models_and_loaded(std::shared_ptr<Probe> probe);
  net::Task<Result<net::HttpReply>> get(std::shared_ptr<Probe> probe, std::string path,
                                        TimePoint deadline);
  static cluster::ProbeOutcome connect_outcome(Probe& probe, const Error& error);
  net::Task<Result<NodeListing>> ask(cluster::NodeInfo info);
  struct Checking;
  net::Task<void> check_node(std::shared_ptr<Probe> probe, std::shared_ptr<Checking> run,
                             std::size_t index);
  void take_models(Probe& probe, std::vector<api::ModelEntry> models);
  void take_loaded(Probe& probe, std::vector<api::LoadedModel> loaded, TimePoint asked);
  void start_probe(NodeId node);
  void let_go(NodeId node);
  bool change(Probe& probe, cluster::NodeInfo info);
  void make_room_for(const cluster::NodeInfo& info, NodeId keeper);
  void update_listing(Probe& probe, const std::function<void(NodeListing&)>& change);
  void publish();
  std::vector<locality::NodeFacts> facts() const;
  /// The nodes of this origin that stay, as the node file takes them.
  std::vector<discovery::NodeSpec> specs_of(std::string_view origin) const;
  // control_findings.cc: what was measured, and for how long it counts
  NodeSign sign_of(const Probe& probe) const;
  std::vector<NamedFinding> findings_now();
  void judge_traffic(TimePoint now);
  bool measuring_now() const;
  void watch_traffic(TimePoint now);
  // control_agents.cc
  net::Task<void> watch_agent(std::shared_ptr<Probe> probe);
  net::Task<bool> ask_agent(std::shared_ptr<Probe> probe);
  void take_sight(Probe& probe, std::shared_ptr<const AgentSight> sight);
  Nearness nearness_of(std::string_view ip);
  // control_wake.cc: nodes that sleep
  net::Task<void> watch_sleepers();
  void judge_sleeper(Probe& probe);
  void wake(Probe& probe);
  // control_measure.cc
  net::Task<void> measure(std::shared_ptr<Measurement> run);
  net::Task<void> measure_pairs(std::shared_ptr<Measurement> run);
  net::Task<void> run_probe(std::shared_ptr<Measurement> run, locality::Probe what);
  net::Task<void> ask(std::shared_ptr<Ask> ask);
  net::Task<Result<net::HttpReply>> generate(std::shared_ptr<Ask> ask, TimePoint deadline);
  Result<void> choose_model(MeasureTarget& target, const MeasureWish& wish);
  bool loaded_as_told(const Probe& probe, const api::LoadedModel& model);
  void choose_targets(Measurement& run);
  void conclude(Measurement& run);
  std::string reason_to_stop(const Measurement& run) const;

  std::shared_ptr<const Options> options_;
  ViewSource& views_;
  Credentials& credentials_;
  net::Context context_;
  net::asio::executor_work_guard<net::asio::io_context::executor_type> work_;
  net::AsioScheduler scheduler_;
  net::TcpConnector connector_;
  NodeConnector nodes_;
  net::HttpScratch scratch_;
  cluster::Cluster cluster_;
  std::map<NodeId, std::shared_ptr<Probe>> probes_;
  TimePoint last_refresh_{};
  SeededRandom random_{entropy_seed()};
  bool looked_ = false;  // for nodes on the network
  std::optional<std::uint16_t> served_port_;
  std::unique_ptr<net::Mdns> announced_, heard_;  // where it is wanted, and Avahi's library is
  TimePoint look_began_{};
  std::vector<discovery::DiscoveredNode> strangers_;  // each may be a node that moved
  bool save_failed_ = false;                          // what has been logged of the node file
  bool places_changed_ = true;                        // something that tells where nodes are
  TimePoint grouped_at_{};
  Duration group_pause_{};
  std::vector<locality::NodeFacts> grouped_facts_;
  std::vector<locality::Contention> grouped_contention_;
  std::vector<SavedNode> away_;  // known to an earlier process, and not to this one yet
  net::Links links_;             // of this machine, read at
  TimePoint links_at_{};
  KeptFindings findings_;
  TrafficNotes traffic_notes_;
  locality::TrafficJudge traffic_judge_;
  struct {
    std::uint64_t version = 0;  // of the cluster that is watched; 0: none
    TimePoint next{}, last{};   // looks for who is whose neighbour
    TimePoint judged{};
  } traffic_;
  std::shared_ptr<Measurement> measurement_;  // under way, or the last
  std::function<std::uint32_t()> queued_;
  WantedAsleep wanted_asleep_;
  NodeDown node_down_;
  Changed changed_;
  NodeGone node_gone_;
  std::thread thread_;
};

}  // namespace sollol::gateway
