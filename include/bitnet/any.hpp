// SPDX-License-Identifier: MIT
// The light face of bitnet.hpp: what a program uses of a model, without what it is made of.
#ifndef BITNET_ANY_HPP
#define BITNET_ANY_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/fwd.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/conversation.hpp>
#include <bitnet/run/conversation_options.hpp>
#include <bitnet/run/conversation_turn.hpp>
#include <bitnet/run/draft_model.hpp>
#include <bitnet/run/embedding.hpp>
#include <bitnet/run/memory_estimate.hpp>
#include <bitnet/run/open_options.hpp>
#include <bitnet/run/prefix_source.hpp>
#include <bitnet/run/prompt_lookup.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/save_options.hpp>
#include <bitnet/run/scheduler.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/speaker.hpp>
#include <bitnet/run/speculation.hpp>
#include <bitnet/run/speculation_options.hpp>
#include <bitnet/run/token_draft.hpp>
#include <bitnet/run/tool_choice.hpp>
#include <bitnet/run/tool_source.hpp>
#include <bitnet/text/chat_dialog.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/chat_template.hpp>
#include <bitnet/text/stop_texts.hpp>
#include <bitnet/text/stream_decoder.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#endif
