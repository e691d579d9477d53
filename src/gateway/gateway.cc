#include "gateway/gateway.h"

#include <boost/asio/post.hpp>

#include "base/random.h"
#include "cluster/retry_budget.h"
#include "gateway/access_log.h"
#include "gateway/admission.h"
#include "gateway/control.h"
#include "gateway/worker.h"

namespace sollol::gateway {

struct Gateway::Impl {
  explicit Impl(Options given) : options(std::move(given)) {}

  Options options;
  ViewSource views;
  std::unique_ptr<AccessLogFile> access_log;
  std::unique_ptr<Control> control;
  std::unique_ptr<Admission> admission;
  std::unique_ptr<cluster::RetryBudget> retries;
  std::vector<std::unique_ptr<Worker>> workers;
  std::unique_ptr<Shared> shared;
};

Gateway::Gateway(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}

Gateway::~Gateway() { stop(); }

Result<Address> Gateway::start() {
  Impl& impl = *impl_;
  auto access_log = AccessLogFile::open(impl.options);
  if (!access_log) return std::unexpected(access_log.error());
  impl.access_log = std::move(*access_log);
  impl.control = std::make_unique<Control>(impl.options, impl.views);
  impl.admission = std::make_unique<Admission>(impl.options, impl.views, impl.control->scheduler());
  impl.retries = std::make_unique<cluster::RetryBudget>(impl.options.retry.budget_percent);
  impl.shared = std::make_unique<Shared>(Shared{impl.options, impl.views, *impl.control,
                                                *impl.admission, *impl.retries, *impl.access_log,
                                                impl.workers, impl.control->scheduler().now()});
  Address at = impl.options.listen;
  const std::uint64_t seed = entropy_seed();
  for (unsigned i = 0; i < impl.options.workers; ++i) {
    auto worker = std::make_unique<Worker>(*impl.shared, i, seed);
    const Result<Address> bound = worker->listen(at);
    if (!bound) return std::unexpected(bound.error());
    at = *bound;  // port 0 becomes the first worker's port
    impl.workers.push_back(std::move(worker));
  }
  impl.control->start(
      [&impl](NodeId node) {
        for (const auto& worker : impl.workers) {
          boost::asio::post(worker->context(),
                            [&pool = worker->pool(), node] { pool.node_down(node); });
        }
      },
      [&impl] { impl.admission->kick(); });
  for (const auto& worker : impl.workers) worker->start();
  return at;
}

void Gateway::stop() {
  Impl& impl = *impl_;
  if (impl.control) impl.control->stop();
  for (const auto& worker : impl.workers) worker->stop();
  // Workers first: what they still hold refers to everything else.
  impl.workers.clear();
}

}  // namespace sollol::gateway
