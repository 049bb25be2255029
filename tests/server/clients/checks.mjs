// SPDX-License-Identifier: MIT
// Checks by name, one after the other; the process ends with whether all passed.
export async function run(checks) {
    let failed = 0;
    for (const [name, check] of Object.entries(checks)) {
        const start = performance.now();
        try {
            await check();
            console.log(`ok     ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
        } catch (error) {
            ++failed;
            console.log(`FAILED ${name}: ${error.stack ?? error}`);
        }
    }
    console.log(`${Object.keys(checks).length - failed} passed, ${failed} failed`);
    process.exit(failed === 0 ? 0 : 1);
}
