#include "sim/inference.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/go_json.h"
#include "sim/structured.h"

namespace sollol::sim {
namespace asio = boost::asio;

namespace {

constexpr std::uint32_t prefill_batch = 512;

double slow_factor(const Call& call) {
  return call.fault.kind == FaultKind::slow ? call.fault.factor : 1;
}

Duration stretched(Duration step, double factor) { return from_seconds(to_seconds(step) * factor); }

std::string fault_text(const FaultSpec& fault) {
  return fault.text.empty() ? std::string(runner_died) : fault.text;
}

/// Evaluates a prompt, batch by batch; returns when that ended.
asio::awaitable<TimePoint> prefill(Call call, Place& place, std::uint32_t tokens) {
  auto at = place.job().started;
  while (tokens > 0) {
    const auto batch = std::min(tokens, prefill_batch);
    at += stretched(place.prefill_step(batch), slow_factor(call));
    tokens -= batch;
    co_await call.exchange.sleep_until(call.node.clock.real(at));
  }
  co_return at;
}

/// So that whoever has the answer finds its load counted.
void note_totals(const Call& call) {
  call.node.recorder.update([&](NodeCounters& c) { c.model = call.live->model().totals(); });
}

/// Waits until the client leaves.
asio::awaitable<void> hang(Exchange& exchange) {
  while (true) co_await exchange.wait();
}

/// The faults that break a stream where a record should follow: `record`.
asio::awaitable<void> break_stream(Call call, AnswerWriter& writer, std::string record) {
  auto& exchange = call.exchange;
  switch (call.fault.kind) {
    case FaultKind::half_close:
      co_await exchange.half_close();
      break;
    case FaultKind::cut_in_chunk:
      co_await exchange.send_bad_chunk(writer.stream_type(), std::move(record),
                                       Exchange::BadChunk::half);
      exchange.reset();
      throw ClientGone{};
    case FaultKind::bad_chunk:
      co_await exchange.send_bad_chunk(writer.stream_type(), std::move(record),
                                       Exchange::BadChunk::sizeless);
      exchange.close();
      throw ClientGone{};
    case FaultKind::garbage_record:
      co_await exchange.send(writer.stream_type(), "<html>no record</html>\n\n");
      co_await exchange.end();
      break;
    default:  // half_record
      record.resize(record.size() / 2);
      co_await exchange.send(writer.stream_type(), record);
      co_await exchange.end();
  }
}

/// Does what a fault that counts tokens does once so many were sent. True: the answer is over; the
/// error is for a head that has not gone out yet.
asio::awaitable<ApiResult<bool>> meet_fault(Call call, AnswerWriter& writer, std::uint64_t sent) {
  const auto& fault = call.fault;
  if (sent < fault.tokens) co_return false;
  switch (fault.kind) {
    case FaultKind::stall_after_tokens:
      co_await hang(call.exchange);
      break;
    case FaultKind::die_after_tokens:
      call.exchange.reset();
      throw ClientGone{};
    case FaultKind::error_after_tokens: {
      if (!call.exchange.started()) co_return refuse(fault.status, fault_text(fault));
      const auto record = writer.broken(fault_text(fault));
      if (!record.empty()) co_await call.exchange.send(writer.stream_type(), record);
      co_await call.exchange.end();
      co_return true;
    }
    case FaultKind::half_close:
    case FaultKind::cut_in_chunk:
    case FaultKind::bad_chunk:
    case FaultKind::garbage_record:
    case FaultKind::half_record: {
      if (!writer.stream()) break;  // a whole answer is broken as it is sent
      auto record = call.exchange.started() ? std::string{} : writer.begin(0);
      record += writer.piece({.content = " and so"});
      co_await break_stream(call, writer, std::move(record));
      co_return true;
    }
    case FaultKind::end_after_tokens:
      if (!writer.stream()) {
        co_await call.exchange.reply(200, json_type, {});
        co_return true;
      }
      if (!call.exchange.started()) co_await call.exchange.send(writer.stream_type(), "");
      co_await call.exchange.end();
      co_return true;
    default:
      break;
  }
  co_return false;
}

struct Progress {
  Piece all{};
  TimePoint at{};
  bool ended = false;  // by a fault
};

void append(Piece& all, const Piece& piece) {
  all.thinking += piece.thinking;
  all.content += piece.content;
  all.tool_calls.insert(all.tool_calls.end(), piece.tool_calls.begin(), piece.tool_calls.end());
}

/// Generates token by token, and streams them when asked to.
asio::awaitable<ApiResult<Progress>> decode(Call call, Place& place, Answer& answer,
                                            AnswerWriter& writer, TimePoint start) {
  Progress progress{.at = start};
  const auto factor = slow_factor(call);
  while (true) {
    const auto met = co_await meet_fault(call, writer, answer.tokens());
    if (!met) co_return std::unexpected(met.error());
    progress.ended = *met;
    if (progress.ended) co_return progress;
    const auto piece = answer.next();
    if (!piece) co_return progress;
    progress.at += stretched(place.decode_step(), factor);
    co_await call.exchange.sleep_until(call.node.clock.real(progress.at));
    call.node.recorder.update([](NodeCounters& counters) { ++counters.tokens; });
    append(progress.all, *piece);
    if (!writer.stream() || piece->empty()) continue;
    auto record =
        call.exchange.started() ? std::string{} : writer.begin(place.job().demand.prompt_tokens);
    record += writer.piece(*piece);
    co_await call.exchange.send(writer.stream_type(), record);
  }
}

ApiResult<void> fit_prompt(const Generation& request, std::uint32_t& tokens,
                           std::uint32_t num_ctx) {
  if (tokens < num_ctx) return {};
  if (!request.truncate) {
    return refuse(
        400, fmt::format("prompt too long; exceeded max context length of {} tokens ({} given)",
                         num_ctx, tokens));
  }
  tokens = num_ctx - 1;
  return {};
}

/// What must hold before the model is asked for.
ApiResult<void> check(const Generation& request, const Manifest& model) {
  if (request.raw &&
      (!request.system.empty() || !request.template_text.empty() || !request.context.empty())) {
    return refuse(400, "raw mode does not support template, system, or context");
  }
  return check_capabilities(request, model);
}

}  // namespace

Handled generate(Call call, Generation request, AnswerWriter& writer) {
  auto& exchange = call.exchange;
  const auto model = find_model(call, request.model);
  if (!model) co_return std::unexpected(model.error());
  if (request.empty() && request.keep_alive == Duration::zero()) {
    call.live->unload(**model);
    auto record = writer.loaded("unload", {});
    co_return co_await reply_text(call, std::move(record));
  }
  if (const auto able = check(request, **model); !able) co_return std::unexpected(able.error());
  const auto num_ctx = call.live->model().effective_context(**model, request.runner);
  auto prompt = render(request, **model);
  auto tokens = count_tokens(prompt) + static_cast<std::uint32_t>(request.context.size());
  if (const auto fits = fit_prompt(request, tokens, num_ctx); !fits)
    co_return std::unexpected(fits.error());

  const bool load_only = request.empty() || request.render_only;
  Place place(call.live, exchange,
              {*model, request.runner, request.keep_alive,
               load_only ? Demand::Use::load : Demand::Use::generate, prompt, tokens});
  if (!place) co_return refuse(503, std::string(queue_full));
  co_await place.ready();
  note_totals(call);
  const auto load = place.job().granted - call.entered;
  if (load_only) {
    place.finish(place.job().granted, "");
    auto record = request.render_only ? writer.rendered(prompt) : writer.loaded("load", load);
    co_return co_await reply_text(call, std::move(record));
  }
  const auto started = place.job().started;
  const auto evaluated = co_await prefill(call, place, tokens - place.job().cached_tokens);
  Answer answer(request, **model, prompt, num_ctx);
  auto progress = co_await decode(call, place, answer, writer, evaluated);
  if (!progress) co_return std::unexpected(progress.error());
  place.finish(progress->at, answer.text());
  if (progress->ended) co_return ApiResult<void>{};
  const Final final{answer.done_reason(), progress->at - call.entered, load,
                    evaluated - started,  progress->at - evaluated,    tokens,
                    answer.tokens()};
  const Piece rest{.content = answer.rest()};
  if (!writer.stream()) {
    progress->all.content += rest.content;
    auto body = writer.whole(progress->all, final);
    co_return co_await reply_text(call, std::move(body));
  }
  auto record = exchange.started() ? std::string{} : writer.begin(tokens);
  record += writer.last(rest, final);
  co_await exchange.send(writer.stream_type(), record);
  co_await exchange.end();
  co_return ApiResult<void>{};
}

asio::awaitable<ApiResult<Embedded>> embed_all(Call call, EmbedRequest request) {
  const auto found = find_model(call, request.model);
  if (!found && (found.error().status != 404 || request.model.empty())) {
    co_return std::unexpected(found.error());
  }
  if (!found) {
    co_return refuse(404,
                     fmt::format("model \"{}\" not found, try pulling it first", request.model));
  }
  const auto& model = *found;
  const auto num_ctx = call.live->model().effective_context(*model, request.options.runner);
  std::vector<std::uint32_t> tokens;
  for (const auto& input : request.inputs) {
    tokens.push_back(std::max(1U, count_tokens(input)));
    if (tokens.back() <= num_ctx) continue;
    if (!request.truncate) co_return refuse(400, "the input length exceeds the context length");
    tokens.back() = num_ctx;
  }
  const auto use = request.inputs.empty() ? Demand::Use::load : Demand::Use::generate;
  Place place(call.live, call.exchange,
              {model, request.options.runner, request.options.keep_alive, use, "", 0});
  if (!place) co_return refuse(503, std::string(queue_full));
  co_await place.ready();
  note_totals(call);
  Embedded out;
  out.load = place.job().granted - call.entered;
  auto at = use == Demand::Use::load ? place.job().granted : place.job().started;
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    at += stretched(place.prefill_step(tokens[i]), slow_factor(call));
    co_await call.exchange.sleep_until(call.node.clock.real(at));
    const auto most = model->spec.embedding_length;
    const auto dimensions = std::clamp(request.dimensions.value_or(most), 1U, most);
    out.vectors.push_back(embed(model->spec.blob, request.inputs[i], dimensions));
    out.prompt_tokens += tokens[i];
  }
  place.finish(at, "");
  out.total = at - call.entered;
  co_return out;
}

}  // namespace sollol::sim
