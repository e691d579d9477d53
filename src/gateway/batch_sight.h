#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "batch/fleet.h"
#include "batch/plan.h"
#include "batch/width.h"
#include "sollol/call.h"

namespace sollol::gateway {

/// What a batch sees of the nodes behind its gateway, and what follows for how many requests are
/// under way. Told the time, in seconds since the batch began.
class BatchSight {
 public:
  /// Requests at once where the gateway does not tell its nodes; it holds back what is too much.
  static constexpr std::size_t unknown_width = 64;

  /// `models`: of the lanes. `concurrency`: 0: automatic.
  BatchSight(std::vector<std::string> models, std::size_t concurrency);

  /// Asks the gateway until it knows its nodes, for a while. False: it has none that can be used.
  bool look(const CallStarter& start, std::size_t tasks, std::size_t main_lane);

  /// What the gateway is asked while the batch runs, one question after the other.
  enum class Question : std::uint8_t { nodes, decisions, locality };
  std::optional<Question> due(double now_s, bool at_the_end);
  static CallRequest request(Question question);
  void take(Question question, const std::expected<CallAnswer, Failure>& answer, double now_s);

  /// How many more may start, for each lane.
  std::vector<std::size_t> room(const std::vector<std::size_t>& in_flight) const;
  batch::Plan::Lanes lanes() const;
  /// The node where the lane's next request is to go; empty: the gateway chooses.
  std::string place(std::size_t lane) const;
  /// A request was sent to that place, or has ended there.
  void note_begun(std::size_t lane, const std::string& place);
  void note_ended(std::size_t lane, const std::string& place);
  /// It gave no answer there: nothing more is sent to the place until the nodes are seen anew.
  void note_failed(const std::string& place);
  std::string reason() const;
  batch::WidthJudge& judge() { return *judge_; }

  /// A request of the lane has ended at the node.
  void note_done(std::size_t lane, const std::string& node, double work, double seconds,
                 double now_s);

  /// A request that might be asked a second time.
  struct Pending {
    std::uint64_t tag = 0;
    std::size_t lane = 0;
    std::string id;  // X-Request-Id
    double sent_s = 0;
    double work = 0;
    bool hedged = false;
  };
  struct HedgeAt {
    std::uint64_t tag = 0;
    std::string node;
  };
  /// What is worth asking again, by what was last seen; nothing until it is seen anew.
  std::vector<HedgeAt> hedges(const std::vector<Pending>& pending, std::size_t most, double now_s);

 private:
  struct Pace {
    double work_per_s = 0;
    double last_end_s = 0;
  };
  std::size_t slots(std::size_t lane) const;
  std::size_t waiting(std::size_t lane) const;
  std::vector<batch::NodeSlots> free_slots(std::size_t lane) const;
  bool serves(const batch::FleetNode& node) const;
  batch::WidthFacts facts(batch::Advice advice) const;
  std::vector<batch::Place> places_of(std::size_t lane) const;

  std::vector<std::string> models_;
  std::size_t concurrency_;
  std::size_t tasks_ = 0;
  std::size_t main_lane_ = 0;
  bool seen_ = false;  // the gateway tells
  batch::Fleet fleet_;
  batch::Advice advice_;
  std::optional<batch::WidthJudge> judge_;
  std::map<std::string, std::string, std::less<>> decisions_;
  std::vector<std::map<std::string, Pace>> paces_;         // by lane and node
  std::vector<std::map<std::string, std::size_t>> begun_;  // at places, by lane and node
  bool fresh_ = false;                                     // seen since the last hedge
  double nodes_s_ = 0, decisions_s_ = 0, locality_s_ = 0;  // when last asked
  bool asking_ = false;
};

}  // namespace sollol::gateway
