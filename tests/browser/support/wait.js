// Waiting without guessing how long: for a condition, until a deadline.

// Asks `question` again and again until its answer is truthy, and gives that answer; after `ms` it fails and says what
// it waited for.
export async function eventually(what, ms, question) {
    const deadline = performance.now() + ms;
    for (;;) {
        const answer = await question();
        if (answer) {
            return answer;
        }
        if (performance.now() > deadline) {
            throw new Error(`not within ${ms} ms: ${what}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}
