// A page that is rendered anew for each request.
export async function getServerSideProps() {
  const { n } = globalThis.work();
  return { props: { n, rows: Array.from({ length: 40 }, (_, i) => `item ${i} of ${n}`) } };
}

export default function Page({ n, rows }) {
  return (
    <main>
      <h1>page {n}</h1>
      <ul>{rows.map((row, i) => <li key={i}>{row}</li>)}</ul>
    </main>
  );
}
