#include "gateway/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <functional>

#include "gateway/admission.h"
#include "gateway/contexts.h"
#include "gateway/request.h"
#include "gateway/residency.h"
#include "gateway/worker.h"

namespace sollol::gateway {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

namespace {

std::string operation_label(std::size_t index) {
  return std::string(api::operation_name(static_cast<api::Operation>(index)));
}

MetricFamily family(std::string name, std::string help, MetricType type) {
  return {std::move(name), std::move(help), type, {}};
}

ClientMetric labelled(std::initializer_list<std::pair<const char*, std::string>> labels) {
  ClientMetric metric;
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

using Sum = std::function<double(const Metrics&)>;

/// Sums over workers and appends families.
class Gather {
 public:
  explicit Gather(Worker& worker) : worker_(worker) {}

  std::vector<MetricFamily> all() {
    requests();
    histograms();
    prediction_errors();
    counter("sollol_retries_total", "Attempts after the first, at another node.",
            [](const Metrics& m) { return static_cast<double>(m.retries.value()); });
    hedges();
    counter("sollol_hedges_withheld_total",
            "Late requests that were not hedged because hedge.budget_percent was spent.",
            [](const Metrics& m) { return static_cast<double>(m.hedges_withheld.value()); });
    counter("sollol_resumed_streams_total",
            "Streams that broke off and went on at another node, each time.",
            [](const Metrics& m) { return static_cast<double>(m.resumed.value()); });
    declined();
    counter("sollol_stalled_streams_total", "Streams in which a node fell silent.",
            [](const Metrics& m) { return static_cast<double>(m.stalls.value()); });
    counter("sollol_broken_streams_total",
            "Answers that ended with an error record because the node failed.",
            [](const Metrics& m) { return static_cast<double>(m.broken_streams.value()); });
    counter("sollol_heartbeats_total",
            "Empty records sent to streams that waited for their first token.",
            [](const Metrics& m) { return static_cast<double>(m.heartbeats.value()); });
    counter("sollol_loads_started_total", "Loads of models that the gateway had nodes do.",
            [](const Metrics& m) { return static_cast<double>(m.loads_started.value()); });
    counter("sollol_loads_joined_total", "Requests that waited for a load that was under way.",
            [](const Metrics& m) { return static_cast<double>(m.loads_joined.value()); });
    counter("sollol_loads_failed_total", "Loads of the gateway's that failed.",
            [](const Metrics& m) { return static_cast<double>(m.loads_failed.value()); });
    counter("sollol_reloads_total", "Loads of models that were loaded with other runner options.",
            [](const Metrics& m) { return static_cast<double>(m.reloads.value()); });
    model_steps();
    pinned_contexts();
    counter("sollol_client_disconnects_total", "Requests whose client left before the end.",
            [](const Metrics& m) { return static_cast<double>(m.client_disconnects.value()); });
    counter("sollol_prompt_tokens_total", "Prompt tokens that nodes reported.",
            [](const Metrics& m) { return static_cast<double>(m.prompt_tokens.value()); });
    counter("sollol_output_tokens_total", "Output tokens that nodes reported.",
            [](const Metrics& m) { return static_cast<double>(m.output_tokens.value()); });
    counter("sollol_response_bytes_total", "Bytes written to clients.",
            [](const Metrics& m) { return static_cast<double>(m.bytes_out.value()); });
    counter("sollol_upstream_connects_total", "Connections opened to nodes.",
            [](const Metrics& m) { return static_cast<double>(m.upstream_connects.value()); });
    counter("sollol_connections_accepted_total", "Client connections accepted.",
            [](const Metrics& m) { return static_cast<double>(m.connections_opened.value()); });
    counter("sollol_connections_displaced_total",
            "Client connections without a request that were closed to make room.",
            [](const Metrics& m) { return static_cast<double>(m.connections_displaced.value()); });
    counter("sollol_tls_handshakes_failed_total", "TLS handshakes of clients that failed.",
            [](const Metrics& m) { return static_cast<double>(m.handshakes_failed.value()); });
    counter("sollol_refused_keys_total", "Requests without a key that is known.",
            [](const Metrics& m) { return static_cast<double>(m.refused_keys.value()); });
    gauge("sollol_connections", "Client connections open now.", sum([](const Metrics& m) {
            return static_cast<double>(m.connections_opened.value() - m.connections_closed.value());
          }));
    gauge("sollol_thrashing", "Nodes' models whose loads undo each other.",
          static_cast<double>(worker_.shared()
                                  .contexts
                                  .thrashing(*worker_.view()->cluster, worker_.options().load,
                                             worker_.scheduler().now())
                                  .size()));
    gauge("sollol_request_memory_bytes", "Bytes of requests that are held for all clients.",
          static_cast<double>(worker_.shared().request_memory.held()));
    gauge("sollol_contention_watched_nodes",
          "Nodes whose requests are judged for whether they slow a neighbour.", watched_nodes());
    gauge("sollol_queued", "Requests waiting for a free slot at a node.",
          worker_.shared().admission.waiting());
    nodes();
    return std::move(families_);
  }

 private:
  double sum(const Sum& value) const {
    double total = 0;
    for (const auto& worker : worker_.shared().workers) total += value(worker->metrics());
    return total;
  }

  void counter(std::string name, std::string help, const Sum& value) {
    MetricFamily out = family(std::move(name), std::move(help), MetricType::Counter);
    ClientMetric metric;
    metric.counter.value = sum(value);
    out.metric.push_back(std::move(metric));
    families_.push_back(std::move(out));
  }

  double watched_nodes() {
    return static_cast<double>(
        std::ranges::count_if(worker_.view()->cluster->nodes,
                              [](const cluster::Node& node) { return node.live->watched.load(); }));
  }
  void gauge(std::string name, std::string help, double value) {
    MetricFamily out = family(std::move(name), std::move(help), MetricType::Gauge);
    ClientMetric metric;
    metric.gauge.value = value;
    out.metric.push_back(std::move(metric));
    families_.push_back(std::move(out));
  }

  void requests() {
    MetricFamily out =
        family("sollol_requests_total", "Answered requests by operation and status class.",
               MetricType::Counter);
    for (std::size_t op = 0; op < Metrics::operations; ++op) {
      for (std::size_t status = 0; status < 6; ++status) {
        const double value = sum(
            [&](const Metrics& m) { return static_cast<double>(m.requests[op][status].value()); });
        if (value == 0) continue;
        ClientMetric metric =
            labelled({{"operation", operation_label(op)},
                      {"code", status == 0 ? "none" : std::to_string(status) + "xx"}});
        metric.counter.value = value;
        out.metric.push_back(std::move(metric));
      }
    }
    families_.push_back(std::move(out));
  }

  void hedges() {
    MetricFamily out = family("sollol_hedges_total",
                              "Second tries in parallel with a late first one, by what became of "
                              "them.",
                              MetricType::Counter);
    for (std::size_t end = 0; end < hedge_end_names.size(); ++end) {
      ClientMetric metric = labelled({{"outcome", std::string(hedge_end_names[end])}});
      metric.counter.value =
          sum([end](const Metrics& m) { return static_cast<double>(m.hedges[end].value()); });
      out.metric.push_back(std::move(metric));
    }
    families_.push_back(std::move(out));
  }

  void model_steps() {
    using Kind = routing::ResidencyStep::Kind;
    using Cause = routing::ResidencyStep::Cause;
    const auto& counters = worker_.shared().residency.counters();
    MetricFamily out =
        family("sollol_model_steps_total",
               "Models that the gateway had nodes load, keep or pull without a request for them.",
               MetricType::Counter);
    for (const Kind kind : {Kind::load, Kind::keep, Kind::pull}) {
      for (const Cause cause : {Cause::wish, Cause::demand}) {
        ClientMetric metric =
            labelled({{"cause", std::string(name(cause))}, {"step", std::string(name(kind))}});
        metric.counter.value = static_cast<double>(
            counters.begun[static_cast<std::size_t>(kind)][static_cast<std::size_t>(cause)]
                .value());
        out.metric.push_back(std::move(metric));
      }
    }
    families_.push_back(std::move(out));
    MetricFamily failed = family("sollol_model_steps_failed_total",
                                 "Of those, loads and pulls that failed.", MetricType::Counter);
    ClientMetric& metric = failed.metric.emplace_back();
    metric.counter.value = static_cast<double>(counters.failed.value());
    families_.push_back(std::move(failed));
  }

  void pinned_contexts() {
    MetricFamily out = family("sollol_contexts_pinned_total",
                              "Requests whose context was set to what their model is pinned to.",
                              MetricType::Counter);
    const auto add = [&](const char* asked, const Sum& value) {
      ClientMetric metric = labelled({{"asked", asked}});
      metric.counter.value = sum(value);
      out.metric.push_back(std::move(metric));
    };
    add("more", [](const Metrics& m) { return static_cast<double>(m.contexts_cut.value()); });
    add("less", [](const Metrics& m) { return static_cast<double>(m.contexts_pinned.value()); });
    families_.push_back(std::move(out));
  }

  void declined() {
    MetricFamily out =
        family("sollol_resume_declined_total",
               "Streams that broke off and were not continued, by reason.", MetricType::Counter);
    for (std::size_t reason = 1; reason < api::obstacle_count; ++reason) {
      const double value = sum([reason](const Metrics& m) {
        return static_cast<double>(m.resume_declined[reason].value());
      });
      if (value == 0) continue;
      ClientMetric metric = labelled(
          {{"reason", std::string(api::obstacle_name(static_cast<api::Obstacle>(reason)))}});
      metric.counter.value = value;
      out.metric.push_back(std::move(metric));
    }
    families_.push_back(std::move(out));
  }

  using Pick = std::function<const DurationHistogram&(const Metrics&)>;

  bool fill(ClientMetric& metric, const Pick& pick) const {
    std::uint64_t cumulative = 0;
    for (std::size_t bucket = 0; bucket <= DurationHistogram::bounds_s.size(); ++bucket) {
      for (const auto& worker : worker_.shared().workers)
        cumulative += pick(worker->metrics()).count(bucket);
      const double bound = bucket < DurationHistogram::bounds_s.size()
                               ? DurationHistogram::bounds_s[bucket]
                               : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({cumulative, bound});
    }
    metric.histogram.sample_count = cumulative;
    metric.histogram.sample_sum = sum([&](const Metrics& m) { return pick(m).sum_s(); });
    return cumulative > 0;
  }

  void histograms() {
    MetricFamily durations = family("sollol_request_duration_seconds",
                                    "Arrival to the end of the answer.", MetricType::Histogram);
    for (std::size_t op = 0; op < Metrics::operations; ++op) {
      ClientMetric metric = labelled({{"operation", operation_label(op)}});
      if (fill(metric, [op](const Metrics& m) -> const auto& { return m.durations[op]; })) {
        durations.metric.push_back(std::move(metric));
      }
    }
    families_.push_back(std::move(durations));
    single("sollol_time_to_first_token_seconds",
           "Arrival to the first byte of an inference answer's body.",
           [](const Metrics& m) -> const auto& { return m.first_byte; });
    single("sollol_queue_seconds", "Time an inference request waited for a slot.",
           [](const Metrics& m) -> const auto& { return m.queued; });
  }

  void prediction_errors() {
    MetricFamily out = family("sollol_prediction_error",
                              "|log(actual / predicted)| of what decides where requests go.",
                              MetricType::Histogram);
    for (std::size_t term = 0; term < routing::predicted_names.size(); ++term) {
      ClientMetric metric = labelled({{"term", std::string(routing::predicted_names[term])}});
      const auto& bounds = PredictionErrors::bounds;
      std::uint64_t cumulative = 0;
      for (std::size_t bucket = 0; bucket <= bounds.size(); ++bucket) {
        for (const auto& worker : worker_.shared().workers)
          cumulative += worker->metrics().prediction_errors[term].count(bucket);
        metric.histogram.bucket.push_back(
            {cumulative,
             bucket < bounds.size() ? bounds[bucket] : std::numeric_limits<double>::infinity()});
      }
      if (cumulative == 0) continue;
      metric.histogram.sample_count = cumulative;
      metric.histogram.sample_sum =
          sum([term](const Metrics& m) { return m.prediction_errors[term].sum(); });
      out.metric.push_back(std::move(metric));
    }
    families_.push_back(std::move(out));
  }

  void single(std::string name, std::string help, const Pick& pick) {
    MetricFamily out = family(std::move(name), std::move(help), MetricType::Histogram);
    ClientMetric metric;
    fill(metric, pick);
    out.metric.push_back(std::move(metric));
    families_.push_back(std::move(out));
  }

  void nodes() {
    MetricFamily up = family("sollol_node_up", "1 while the node is used.", MetricType::Gauge);
    MetricFamily in_flight = family(
        "sollol_node_in_flight", "Requests sent to the node and not finished.", MetricType::Gauge);
    MetricFamily sent =
        family("sollol_node_requests_total", "Requests sent to the node.", MetricType::Counter);
    MetricFamily failed = family("sollol_node_failures_total",
                                 "Requests that failed by the node's fault.", MetricType::Counter);
    MetricFamily tokens = family("sollol_node_output_tokens_total", "Output tokens from the node.",
                                 MetricType::Counter);
    MetricFamily rtt = family("sollol_node_round_trip_seconds",
                              "Smoothed round trip of liveness probes.", MetricType::Gauge);
    MetricFamily paused = family(
        "sollol_node_paused", "1 while the owner works at the node's machine.", MetricType::Gauge);
    MetricFamily foreign =
        family("sollol_node_foreign_slowdown",
               "Times as long as without other programs' work on the machine.", MetricType::Gauge);
    MetricFamily wakes =
        family("sollol_node_wakes_total", "Magic packets sent to the node.", MetricType::Counter);
    for (const cluster::Node& node : worker_.view()->cluster->nodes) {
      const auto add = [&](MetricFamily& out, double value) {
        ClientMetric metric = labelled({{"node", node.info.name}});
        (out.type == MetricType::Gauge ? metric.gauge.value : metric.counter.value) = value;
        out.metric.push_back(std::move(metric));
      };
      add(up, node.live->availability == cluster::Availability::healthy ? 1 : 0);
      add(in_flight, node.live->in_flight);
      add(sent, static_cast<double>(node.live->requests));
      add(failed, static_cast<double>(node.live->failures));
      add(tokens, static_cast<double>(node.live->output_tokens));
      add(rtt, node.live->round_trip_s);
      add(paused, node.live->paused ? 1 : 0);
      add(foreign, node.live->foreign_slowdown);
      if (!node.info.wake_mac.empty()) add(wakes, static_cast<double>(node.live->wakes));
    }
    for (MetricFamily* out :
         {&up, &in_flight, &sent, &failed, &tokens, &rtt, &paused, &foreign, &wakes})
      families_.push_back(std::move(*out));
  }

  Worker& worker_;
  std::vector<MetricFamily> families_;
};

}  // namespace

void DurationHistogram::observe(Duration d) noexcept {
  const double s = to_seconds(d);
  std::size_t bucket = 0;
  while (bucket < bounds_s.size() && s > bounds_s[bucket]) ++bucket;
  counts_[bucket].add();
  sum_us_.add(static_cast<std::uint64_t>(std::max(0.0, s * 1e6)));
}

void PredictionErrors::observe(double off) noexcept {
  std::size_t bucket = 0;
  while (bucket < bounds.size() && off > bounds[bucket]) ++bucket;
  counts_[bucket].add();
  sum_ppm_.add(static_cast<std::uint64_t>(off * 1e6));
}

void Metrics::observe(const Request& request, TimePoint now) noexcept {
  const auto op = static_cast<std::size_t>(request.route.operation) % operations;
  const Outcome& outcome = request.outcome;
  requests[op][static_cast<std::size_t>(outcome.status / 100) % 6].add();
  durations[op].observe(now - request.arrived);
  if (request.route.route_class == api::RouteClass::inference) {
    queued.observe(outcome.queued);
    if (outcome.first_byte.count() > 0) first_byte.observe(outcome.first_byte);
  }
  prompt_tokens.add(outcome.prompt_tokens);
  output_tokens.add(outcome.output_tokens);
  bytes_out.add(outcome.bytes_out);
}

std::string metrics_text(Worker& worker) {
  Gather gather(worker);
  return prometheus::TextSerializer().Serialize(gather.all());
}

}  // namespace sollol::gateway
