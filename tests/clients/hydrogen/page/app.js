// The whole of Hydrogen, as its own start page makes it. Encryption is left out until the server keeps keys.

import "hydrogen-view-sdk/theme-element-light.css";
import { FeatureSet, Platform, RootView, RootViewModel, createNavigation, createRouter } from "hydrogen-view-sdk";

const container = document.querySelector("#app");
const platform = new Platform({
    container,
    assetPaths: { downloadSandbox: "download-sandbox.html", worker: "worker.js", serviceWorker: "sw.js" },
    config: { defaultHomeServer: new URLSearchParams(window.location.search).get("homeserver") },
    options: { development: false },
});
await platform.init();
const navigation = createNavigation();
platform.setNavigation(navigation);
const urlRouter = createRouter({ navigation, history: platform.history });
urlRouter.attach();
const features = await FeatureSet.load(platform.settingsStorage);
const root = new RootViewModel({ platform, navigation, urlRouter, features });
await root.load();
container.appendChild(new RootView(root).mount());
