#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "support/raw_client.h"

namespace sollol::test {

/// One inference route, streaming or not, as a client uses it.
struct InferenceCall {
  enum class Api : std::uint8_t { native, openai, anthropic };
  enum class Kind : std::uint8_t {
    generate,
    raw_generate,
    chat,
    embed,
    embeddings,
    chat_completions,
    completions,
    openai_embeddings,
    responses,
    transcriptions,
    messages,
  };
  enum class Mode : std::uint8_t { whole, stream };

  std::string name;  // "chat_stream"
  std::string path;
  Kind kind;
  Api api;
  Mode mode;

  bool streams() const { return mode == Mode::stream; }
  /// Writes token by token; embeddings do not.
  bool has_tokens() const;
  /// Whether its API has a request that continues an answer (docs/http-api.md).
  bool can_continue() const;
  /// A request that every simulated node answers with the same words. Whole, from request line to
  /// body.
  std::string request(const std::string& model) const;
};

/// All inference routes, those that stream twice.
std::vector<InferenceCall> inference_calls();

/// What a client makes of an answer.
enum class Seen : std::uint8_t {
  whole,         // all of it, ended as its API ends it
  error_answer,  // no success: an error in its API's form
  error_record,  // a stream that ended with the API's error record
  cut,           // the connection broke: no client takes it for complete
  silence,       // nothing more came, and no end
  wrong,         // none of these: the text says why
};
std::string_view text(Seen seen);

struct Reading {
  Seen seen = Seen::wrong;
  std::string words;  // what the model said, as one text, with the totals that the API reports
  std::string problem;
};

/// Reads an answer as a strict client of the call's API would.
Reading read_answer(const InferenceCall& call, const Answer& answer);

}  // namespace sollol::test
