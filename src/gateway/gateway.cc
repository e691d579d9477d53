#include "gateway/gateway.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include "base/random.h"
#include "cluster/retry_budget.h"
#include "gateway/access_log.h"
#include "gateway/admission.h"
#include "gateway/applications.h"
#include "gateway/cold_load.h"
#include "gateway/contexts.h"
#include "gateway/control.h"
#include "gateway/residency.h"
#include "gateway/state_keeper.h"
#include "net/listening.h"

namespace sollol::gateway {

namespace asio = net::asio;

/// Whether a thread has run what was last posted to it.
using Beat = std::shared_ptr<std::atomic<bool>>;

struct Gateway::Impl {
  explicit Impl(Options given)
      : options(std::make_shared<const Options>(std::move(given))),
        published(options),
        retries(options->retry.budget_percent),
        hedges(options->hedge.budget_percent) {}

  Result<Address> listen();
  Result<Address> adopt(std::vector<int> sockets);

  std::shared_ptr<const Options> options;
  OptionsSource published;
  ViewSource views;
  cluster::RetryBudget retries;
  cluster::RetryBudget hedges;
  Credentials credentials;
  std::unique_ptr<AccessLogFile> access_log;
  RequestMemory request_memory;
  std::unique_ptr<Control> control;
  std::unique_ptr<StateKeeper> state;
  std::unique_ptr<Admission> admission;
  ColdLoads loads;
  std::unique_ptr<ResidencyKeeper> residency;
  ContextWatch contexts;
  cluster::History history;
  Applications applications;
  std::vector<std::unique_ptr<Worker>> workers;
  std::unique_ptr<Shared> shared;
  std::atomic<std::size_t> turn{0};  // of the workers, at connections from inside
  std::vector<Beat> beats;           // of each worker, then the control thread
};

Gateway::Gateway(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}

Gateway::~Gateway() { stop(); }

Result<void> Gateway::prepare() {
  Impl& impl = *impl_;
  auto access_log = AccessLogFile::open(*impl.options);
  if (!access_log) return std::unexpected(access_log.error());
  impl.access_log = std::move(*access_log);
  if (const auto loaded = impl.credentials.load(*impl.options); !loaded)
    return std::unexpected(loaded.error());
  impl.control = std::make_unique<Control>(impl.published, impl.views, impl.credentials);
  impl.admission =
      std::make_unique<Admission>(*impl.options, impl.views, impl.control->scheduler());
  impl.residency = std::make_unique<ResidencyKeeper>(impl.published, impl.views, *impl.control,
                                                     *impl.admission, impl.loads, impl.workers);
  impl.shared = std::make_unique<Shared>(Shared{
      impl.published, impl.views, *impl.control, *impl.admission, impl.loads, *impl.residency,
      impl.contexts, impl.retries, impl.hedges, impl.history, impl.applications, *impl.access_log,
      impl.request_memory, impl.credentials, impl.workers, impl.control->scheduler().now(),
      fmt::format("{:016x}", entropy_seed())});
  const std::uint64_t seed = entropy_seed();
  for (unsigned i = 0; i < impl.options->workers; ++i)
    impl.workers.push_back(std::make_unique<Worker>(*impl.shared, i, seed));
  for (unsigned i = 0; i <= impl.options->workers; ++i)
    impl.beats.push_back(std::make_shared<std::atomic<bool>>(true));
  const auto on_pools = [&impl](void (UpstreamPool::*action)(NodeId)) {
    return [&impl, action](NodeId node) {
      for (const auto& worker : impl.workers) {
        asio::post(worker->context(),
                   [&pool = worker->pool(), action, node] { (pool.*action)(node); });
      }
    };
  };
  impl.state =
      std::make_unique<StateKeeper>(impl.published, *impl.control, *impl.residency, impl.history);
  impl.state->restore();
  impl.control->count_queued([&impl] { return impl.admission->waiting(); });
  impl.control->find_wanted(
      [&impl](Duration wake_time) { return impl.admission->wanted_asleep(wake_time); });
  impl.control->start(
      on_pools(&UpstreamPool::node_down), [&impl] { impl.admission->kick(); },
      on_pools(&UpstreamPool::forget));
  impl.residency->start();
  impl.state->start();
  return {};
}

bool Gateway::nodes_known() {
  const auto view = impl_->views.get();
  for (std::size_t i = 0; i < view->cluster->nodes.size(); ++i) {
    const cluster::Availability state = view->cluster->nodes[i].live->availability;
    if (state == cluster::Availability::unknown) return false;
    if (state == cluster::Availability::healthy && !view->listings[i]->listed) return false;
  }
  return true;
}

Result<Address> Gateway::start(std::vector<int> sockets) {
  Impl& impl = *impl_;
  if (!impl.control) {
    const Result<void> prepared = prepare();
    if (!prepared) return std::unexpected(prepared.error());
  }
  const Result<Address> bound = sockets.empty() ? impl.listen() : impl.adopt(std::move(sockets));
  if (!bound) return bound;
  for (const auto& worker : impl.workers) worker->start();
  impl.control->announce(bound->port);
  return bound;
}

Result<void> Gateway::start_inside() {
  const Result<void> prepared = prepare();
  if (!prepared) return prepared;
  for (const auto& worker : impl_->workers) worker->start();
  return {};
}

void Gateway::serve(net::ClientSocket socket) {
  const std::size_t turn = impl_->turn.fetch_add(1, std::memory_order_relaxed);
  impl_->workers[turn % impl_->workers.size()]->take_connected(std::move(socket));
}

Control& Gateway::control() noexcept { return *impl_->control; }
ViewSource& Gateway::views() noexcept { return impl_->views; }

Result<Address> Gateway::Impl::listen() {
  Address at = options->listen;
  if (const Result<void> unused = net::check_unused(at); !unused)
    return std::unexpected(unused.error());
  for (const auto& worker : workers) {
    const Result<Address> bound = worker->listen(at);
    if (!bound) return bound;
    at = *bound;  // port 0 becomes the first worker's port
  }
  return at;
}

/// Every socket must be served, since the kernel spreads connections over all, and every worker
/// must have one.
Result<Address> Gateway::Impl::adopt(std::vector<int> sockets) {
  Address at;
  const std::size_t count = std::max(sockets.size(), workers.size());
  for (std::size_t i = 0; i < count; ++i) {
    Worker& worker = *workers[i % workers.size()];
    if (i < sockets.size()) {
      const Result<Address> bound = worker.adopt(sockets[i]);
      if (!bound) return bound;
      at = *bound;
      continue;
    }
    if (worker.listen(at)) continue;
    // One that may not be shared by address is shared as it is.
    const Result<Address> bound = worker.adopt(net::duplicate(sockets[i % sockets.size()]));
    if (!bound) return bound;
  }
  return at;
}

std::vector<int> Gateway::sockets() {
  std::vector<int> all;
  for (const auto& worker : impl_->workers) {
    const std::vector<int> own = worker->listening();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

// ---- reload

namespace {

constexpr Duration worker_answers_within = 500ms;  // else it is left out of what people are told

std::vector<std::string> fixed_changes(const Options& now, const Options& wanted) {
  std::vector<std::string> names;
  if (now.listen != wanted.listen) names.emplace_back("listen");
  if (now.workers != wanted.workers) names.emplace_back("workers");
  if (now.state.file != wanted.state.file) names.emplace_back("state_file");
  return names;
}

}  // namespace

Result<std::vector<std::string>> Gateway::reload(Options options) {
  Impl& impl = *impl_;
  if (const Result<void> opened = impl.access_log->reopen(options); !opened)
    return std::unexpected(opened.error());
  if (const Result<void> loaded = impl.credentials.load(options); !loaded)
    return std::unexpected(loaded.error());
  std::vector<std::string> waiting = fixed_changes(*impl.options, options);
  options.listen = impl.options->listen;
  options.workers = impl.options->workers;
  options.state.file = impl.options->state.file;
  impl.options = std::make_shared<const Options>(std::move(options));
  impl.published.publish(impl.options);
  impl.admission->configure(*impl.options);
  impl.retries.set_percent(impl.options->retry.budget_percent);
  impl.hedges.set_percent(impl.options->hedge.budget_percent);
  for (const auto& worker : impl.workers) worker->reconfigure();
  const NodeChanges nodes =
      asio::co_spawn(impl.control->context(), impl.control->apply(impl.options), asio::use_future)
          .get();
  spdlog::info("reloaded: {} nodes added, {} changed, {} removed", nodes.added, nodes.changed,
               nodes.removed);
  return waiting;
}

void Gateway::save_state() { impl_->state->save(); }

void Gateway::hand_off_state() { impl_->state->hand_off(); }

bool Gateway::responsive() {
  Impl& impl = *impl_;
  const auto ask = [](net::asio::io_context& context, Beat& beat) {
    const bool answered = beat->exchange(false);
    if (answered) asio::post(context, [beat] { *beat = true; });
    return answered;
  };
  bool all = ask(impl.control->context(), impl.beats.back());
  for (std::size_t i = 0; i < impl.workers.size(); ++i)
    all = ask(impl.workers[i]->context(), impl.beats[i]) && all;
  return all;
}

Duration Gateway::drain_timeout() const { return impl_->options->drain.timeout; }

// ---- stopping

void Gateway::drain(Worker::Sockets sockets) {
  impl_->control->announce(std::nullopt);
  impl_->residency->rest();
  for (const auto& worker : impl_->workers) worker->drain(sockets);
}

bool Gateway::drained() const {
  return std::ranges::all_of(impl_->workers, [](const auto& worker) { return worker->drained(); });
}

Gateway::Running Gateway::running() {
  Running all{{}, impl_->admission->waiting()};
  for (const auto& worker : impl_->workers) {
    auto asked = asio::co_spawn(worker->context(), worker->running(), asio::use_future);
    if (asked.wait_for(worker_answers_within) != std::future_status::ready) continue;
    std::ranges::move(asked.get(), std::back_inserter(all.requests));
  }
  return all;
}

namespace {

Error shutting_down() {
  return {ErrorKind::overloaded, Origin::gateway, Retry::later,
          "the gateway is shutting down; try again"};
}

}  // namespace

void Gateway::end_running() {
  const Error why = shutting_down();
  impl_->admission->give_up_all(why);
  for (const auto& worker : impl_->workers) worker->end_running(why);
}

void Gateway::reset_connections() {
  for (const auto& worker : impl_->workers) worker->reset_connections();
}

void Gateway::stop() {
  Impl& impl = *impl_;
  if (impl.state) impl.state->stop();
  if (impl.control) impl.control->stop();
  for (const auto& worker : impl.workers) worker->stop();
  // Each thread's tasks may wait for another's: all go while all contexts are there. Those that
  // wait in no context are handed to theirs first: each holds what would wake it.
  if (impl.admission) impl.admission->give_up_all(shutting_down());
  impl.loads.give_up_all(shutting_down());
  if (impl.control) impl.control->context().drop_tasks();
  for (const auto& worker : impl.workers) worker->drop_tasks();
  // Workers first: what they still hold refers to everything else.
  impl.workers.clear();
}

}  // namespace sollol::gateway
