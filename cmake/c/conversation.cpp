// SPDX-License-Identifier: MIT
// Conversations.
#include "conversation.hpp"

#include <vector>

using namespace bitnet_c;

namespace {

[[nodiscard]] const bitnet::memory_source* memory_of(const model_state& model) noexcept {
    return model.allocate != nullptr ? &model.source : nullptr;
}

[[nodiscard]] std::optional<std::string_view> check(const bitnet_conversation_options& given) noexcept {
    if (given.when_full < BITNET_FULL_STOP || given.when_full > BITNET_FULL_WINDOW) {
        return "bitnet_conversation_options: when_full is none of BITNET_FULL_...";
    }
    if (given.thinking < BITNET_THINKING_BY_TEMPLATE || given.thinking > BITNET_THINKING_OFF) {
        return "bitnet_conversation_options: thinking is none of BITNET_THINKING_...";
    }
    if (given.stop_count != 0 && given.stop_texts == nullptr) {
        return "bitnet_conversation_options: stop_count says that there are stop texts, and stop_texts is null";
    }
    return check_jobs(given.jobs);
}

[[nodiscard]] bitnet::conversation_options options_of(const bitnet_conversation_options& given,
                                                      const bitnet_sampling& sampling, const bitnet::any_model& model,
                                                      const std::vector<std::string_view>& stops) {
    bitnet::conversation_options options;
    options.system = view(given.system);
    options.session.context = given.context;
    if (given.threads != 0) {
        options.session.threads = given.threads;
    }
    options.session.kv = given.pages != nullptr ? given.pages->pool.get() : nullptr;
    options.sampling = sampling_of(sampling, model);
    options.chat_format = view(given.chat_format);
    options.chat.thinking = given.thinking == BITNET_THINKING_ON    ? bitnet::chat_thinking::on
                            : given.thinking == BITNET_THINKING_OFF ? bitnet::chat_thinking::off
                                                                    : bitnet::chat_thinking::by_template;
    options.tools = given.tools != nullptr ? &*given.tools->state->source : nullptr;
    options.when_full = static_cast<bitnet::full_context>(given.when_full);
    options.stop_texts = stops;
    options.answer_limit = given.answer_limit;
    options.show_thoughts = given.show_thoughts != 0;
    return options;
}
static_assert(static_cast<int>(bitnet::full_context::stop) == BITNET_FULL_STOP &&
              static_cast<int>(bitnet::full_context::drop_oldest) == BITNET_FULL_DROP_OLDEST &&
              static_cast<int>(bitnet::full_context::window) == BITNET_FULL_WINDOW);
static_assert(static_cast<int>(bitnet::conversation_state::reading) == BITNET_READING &&
              static_cast<int>(bitnet::conversation_state::speaking) == BITNET_SPEAKING);
static_assert(static_cast<int>(bitnet::answer_end::stop_text) == BITNET_END_STOP_TEXT &&
              static_cast<int>(bitnet::answer_end::tool_calls) == BITNET_END_TOOL_CALLS);
static_assert(static_cast<int>(bitnet::screen_state::ready) == BITNET_SCREEN_READY);

[[nodiscard]] bitnet::result<std::unique_ptr<answer_constraint>> constraint_of(const bitnet_conversation& talk,
                                                                               const bitnet::grammar& texts) {
    auto trie = trie_of(*talk.model);
    if (!trie) {
        return bitnet::failed(trie);
    }
    const bitnet::any_model& model = *talk.model->model;
    auto choose =
        bitnet::sampler::open(sampling_of(talk.sampling, model), model.parameters().vocabulary, memory_of(*talk.model));
    if (!choose) {
        return bitnet::failed(choose);
    }
    std::unique_ptr<answer_constraint> made(
        new answer_constraint{*std::move(trie), *std::move(choose), std::nullopt, std::nullopt});
    bitnet::constraint_options limited;
    limited.limit = talk.answer_limit;
    auto constraint = bitnet::token_constraint::open(texts, made->trie->tokens, limited);
    if (!constraint) {
        return bitnet::failed(constraint);
    }
    made->constraint.emplace(*std::move(constraint));
    auto chooser = bitnet::constrained_chooser<bitnet::sampler>::open(made->choose, *made->constraint);
    if (!chooser) {
        return bitnet::failed(chooser);
    }
    made->chooser.emplace(*std::move(chooser));
    return made;
}

} // namespace

extern "C" {

int32_t bitnet_conversation_options_init(bitnet_conversation_options* options) { return initialise(options); }

int32_t bitnet_conversation_open(bitnet_model* model, const bitnet_conversation_options* options,
                                 bitnet_conversation** talk, char* message, uint32_t capacity) {
    if (model == nullptr || talk == nullptr) {
        return fail("bitnet_conversation_open: there is no model, or nowhere to put the conversation", message,
                    capacity);
    }
    *talk = nullptr;
    bitnet_conversation_options chosen{};
    bitnet_sampling sampling{};
    bitnet_sampling_init(&sampling);
    auto wrong = take(options, chosen);
    wrong = wrong ? wrong : take(chosen.sampling, sampling);
    wrong = wrong ? wrong : check(chosen);
    if (!wrong && chosen.tools != nullptr && chosen.tools->state->model != model->state) {
        wrong = "bitnet_conversation_options: tools are of another model, whose tokens are others";
    }
    if (!wrong && chosen.pages != nullptr && chosen.pages->model != model->state) {
        wrong = "bitnet_conversation_options: pages are of another model";
    }
    if (wrong) {
        return fail(*wrong, message, capacity);
    }
    std::shared_ptr<host_jobs> jobs;
    auto opened = bitnet::detail::guarded([&] {
        jobs = jobs_of(chosen.jobs);
        std::vector<std::string_view> stops;
        for (uint32_t i = 0; i < chosen.stop_count; ++i) {
            stops.push_back(view(chosen.stop_texts[i]));
        }
        const bitnet::any_model& of = *model->state->model;
        const auto how = options_of(chosen, sampling, of, stops);
        return jobs != nullptr ? bitnet::conversation::open(of, *jobs, how) : bitnet::conversation::open(of, how);
    });
    if (!opened) {
        return fail(opened.error(), message, capacity);
    }
    const std::optional<std::size_t> limit =
        chosen.answer_limit != 0 ? std::optional<std::size_t>(chosen.answer_limit) : std::nullopt;
    *talk = made<bitnet_conversation>(failing{}, model->state, chosen.pages != nullptr ? chosen.pages->pool : nullptr,
                                      chosen.tools != nullptr ? chosen.tools->state : nullptr, sampling, limit, nullptr,
                                      std::move(jobs), *std::move(opened), std::weak_ptr<scheduler_state>());
    return *talk != nullptr ? BITNET_OK : fail(bitnet::detail::out_of_memory(), message, capacity);
}

void bitnet_conversation_close(bitnet_conversation* talk) {
    if (talk != nullptr) {
        if (const auto scheduler = talk->served_by.lock()) {
            scheduler->all.remove(talk->talk);
        }
        delete talk;
    }
}

const char* bitnet_conversation_error(const bitnet_conversation* talk) {
    return talk != nullptr ? talk->message.c_str() : "";
}

int32_t bitnet_conversation_say(bitnet_conversation* talk, const char* text, int64_t bytes) {
    const auto said = view(text, bytes);
    return talk != nullptr && said ? talk->begun(talk->talk.say(*said)) : BITNET_E_ARGUMENT;
}

int32_t bitnet_conversation_add(bitnet_conversation* talk, const char* role, const char* text, int64_t bytes) {
    const auto said = view(text, bytes);
    if (talk == nullptr || role == nullptr || !said) {
        return BITNET_E_ARGUMENT;
    }
    return talk->code(talk->talk.add({.role = role, .content = *said}));
}

int32_t bitnet_conversation_begin_answer(bitnet_conversation* talk, const char* text, int64_t bytes) {
    const auto begun = view(text, bytes);
    return talk != nullptr && begun ? talk->begun(talk->talk.begin_answer(*begun)) : BITNET_E_ARGUMENT;
}

int32_t bitnet_conversation_regenerate(bitnet_conversation* talk) {
    return talk != nullptr ? talk->begun(talk->talk.regenerate()) : BITNET_E_ARGUMENT;
}

int32_t bitnet_conversation_edit(bitnet_conversation* talk, uint32_t turn, const char* text, int64_t bytes) {
    const auto said = view(text, bytes);
    return talk != nullptr && said ? talk->code(talk->talk.edit(turn, *said)) : BITNET_E_ARGUMENT;
}

int32_t bitnet_conversation_rewind(bitnet_conversation* talk, uint32_t turns) {
    return talk != nullptr ? talk->code(talk->talk.rewind(turns)) : BITNET_E_ARGUMENT;
}

int32_t bitnet_conversation_reset(bitnet_conversation* talk) {
    if (talk == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    if (talk->constrained != nullptr) {
        talk->constrained->choose.reset();
    }
    return talk->begun(talk->talk.reset());
}

int32_t bitnet_conversation_step(bitnet_conversation* talk, uint64_t budget_us, int32_t* state) {
    if (talk == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    const auto stepped = talk->talk.step(budget_of(budget_us));
    if (state != nullptr) {
        *state = static_cast<int32_t>(talk->talk.state());
    }
    return talk->code(stepped);
}

int32_t bitnet_conversation_answer(bitnet_conversation* talk,
                                   int32_t (*on_text)(void* context, const char* text, uint64_t bytes), void* context) {
    if (talk == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    return talk->code(talk->talk.answer(
        [&](std::string_view text) { return on_text == nullptr || on_text(context, text.data(), text.size()) != 0; }));
}

int32_t bitnet_conversation_take_text(bitnet_conversation* talk, const char** text, uint64_t* bytes) {
    if (talk == nullptr || text == nullptr || bytes == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    give(talk->talk.take_text(), text, bytes);
    return BITNET_OK;
}

int32_t bitnet_conversation_state(const bitnet_conversation* talk, int32_t* state) {
    if (talk == nullptr || state == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    *state = static_cast<int32_t>(talk->talk.state());
    return BITNET_OK;
}

int32_t bitnet_conversation_ended_by(const bitnet_conversation* talk, int32_t* end) {
    if (talk == nullptr || end == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    *end = static_cast<int32_t>(talk->talk.ended_by());
    return BITNET_OK;
}

void bitnet_conversation_cancel(bitnet_conversation* talk) {
    if (talk != nullptr) {
        talk->talk.cancel();
    }
}

int32_t bitnet_conversation_turns(const bitnet_conversation* talk, uint32_t* count) {
    if (talk == nullptr || count == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    *count = counted(talk->talk.history().size());
    return BITNET_OK;
}

int32_t bitnet_conversation_turn(const bitnet_conversation* talk, uint32_t index, const char** role,
                                 uint64_t* role_bytes, const char** text, uint64_t* text_bytes) {
    if (talk == nullptr || index >= talk->talk.history().size()) {
        return BITNET_E_ARGUMENT;
    }
    const bitnet::conversation_turn& turn = talk->talk.history()[index];
    give(turn.role, role, role_bytes);
    give(turn.text, text, text_bytes);
    return BITNET_OK;
}

int32_t bitnet_conversation_tokens(const bitnet_conversation* talk, uint32_t* prompt, uint32_t* answer) {
    if (talk == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    if (prompt != nullptr) {
        *prompt = counted(talk->talk.prompt_tokens());
    }
    if (answer != nullptr) {
        *answer = counted(talk->talk.answer_tokens());
    }
    return BITNET_OK;
}

int32_t bitnet_conversation_constrain(bitnet_conversation* talk, const bitnet_grammar* grammar) {
    if (talk == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    if (grammar == nullptr) {
        talk->talk.choose_with(std::nullopt);
        talk->constrained.reset();
        return BITNET_OK;
    }
    if (talk->tools != nullptr) {
        return talk->fail(
            "bitnet_conversation_constrain: the conversation has tools, whose calls a grammar cannot have");
    }
    if (talk->talk.state() != bitnet::conversation_state::idle && talk->talk.answer_tokens() != 0) {
        return talk->fail("bitnet_conversation_constrain: an answer is being given; end it before, or wait");
    }
    auto made = bitnet::detail::guarded([&] { return constraint_of(*talk, grammar->texts); });
    if (!made) {
        return talk->fail(made.error());
    }
    talk->constrained = *std::move(made);
    talk->talk.choose_with(bitnet::any_chooser(*talk->constrained->chooser));
    return BITNET_OK;
}

int32_t bitnet_conversation_choose_calls(bitnet_conversation* talk, int32_t mode, const char* name,
                                         int32_t is_parallel) {
    if (talk == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    constexpr bitnet::tool_mode modes[] = {bitnet::tool_mode::automatic, bitnet::tool_mode::none,
                                           bitnet::tool_mode::required, bitnet::tool_mode::named};
    if (mode < BITNET_CALLS_AUTOMATIC || mode > BITNET_CALLS_NAMED) {
        return talk->fail("bitnet_conversation_choose_calls: mode is none of BITNET_CALLS_...");
    }
    return talk->code(talk->talk.choose_calls({modes[mode], view(name), is_parallel != 0}));
}

int32_t bitnet_conversation_calls(const bitnet_conversation* talk, uint32_t* count) {
    if (talk == nullptr || count == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    *count = counted(talk->talk.calls().size());
    return BITNET_OK;
}

int32_t bitnet_conversation_call(const bitnet_conversation* talk, uint32_t index, const char** name,
                                 uint64_t* name_bytes, const char** arguments, uint64_t* argument_bytes) {
    if (talk == nullptr || index >= talk->talk.calls().size()) {
        return BITNET_E_ARGUMENT;
    }
    give(talk->talk.calls()[index].name, name, name_bytes);
    give(talk->talk.calls()[index].arguments, arguments, argument_bytes);
    return BITNET_OK;
}

int32_t bitnet_conversation_say_results(bitnet_conversation* talk, const char* const* results, uint32_t count) {
    if (talk == nullptr || (results == nullptr && count != 0)) {
        return BITNET_E_ARGUMENT;
    }
    return talk->begun(bitnet::detail::guarded([&] {
        std::vector<std::string> texts;
        for (uint32_t i = 0; i < count; ++i) {
            texts.emplace_back(view(results[i]));
        }
        return talk->talk.say_results(texts);
    }));
}

int32_t bitnet_conversation_fork(bitnet_conversation* talk, const uint64_t* seed, bitnet_conversation** fork) {
    if (talk == nullptr || fork == nullptr) {
        return BITNET_E_ARGUMENT;
    }
    *fork = nullptr;
    auto forked = talk->talk.fork(seed != nullptr ? std::optional<std::uint64_t>(*seed) : std::nullopt);
    if (!forked) {
        return talk->fail(forked.error());
    }
    *fork =
        made<bitnet_conversation>(failing{}, talk->model, talk->pool, talk->tools, talk->sampling, talk->answer_limit,
                                  nullptr, talk->jobs, *std::move(forked), std::weak_ptr<scheduler_state>());
    return *fork != nullptr ? BITNET_OK : talk->fail(bitnet::detail::out_of_memory());
}

int32_t bitnet_conversation_save(bitnet_conversation* talk, int32_t with_keys, void* out, uint64_t capacity,
                                 uint64_t* needed) {
    if (talk == nullptr || (out == nullptr && capacity != 0)) {
        return BITNET_E_ARGUMENT;
    }
    counted_room room{{static_cast<std::byte*>(out), clamped(capacity)}};
    const auto saved = talk->talk.save(room, {.keys_and_values = with_keys != 0});
    return saved ? room.done(needed) : talk->fail(saved.error());
}

int32_t bitnet_conversation_restore(bitnet_conversation* talk, const void* saved, uint64_t bytes) {
    if (talk == nullptr || (saved == nullptr && bytes != 0)) {
        return BITNET_E_ARGUMENT;
    }
    return talk->code(talk->talk.restore({static_cast<const std::byte*>(saved), clamped(bytes)}));
}

} // extern "C"
